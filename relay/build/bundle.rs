//! Bundles the modules that the page imports into one script, because a browser takes some 3 ms for every file, however
//! small it is.
//!
//! Each module becomes a function that is called immediately and returns the module's exports. Only import and export
//! statements are rewritten. The bundler supports the forms that this project uses, at the beginning of a line, and
//! fails for any other.
//!
//! A module that is imported dynamically (`import(...)`) stays a file of its own. If it imports a bundled module, it
//! must get the same instance. So the bundle exports those modules as `joined`, and a stub that re-exports from there
//! replaces the module's file.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};

use crate::module_preloads::{modules, resolve};

/// Prefix of the names that the bundle declares. No module may use it.
const PREFIX: &str = "joined_";

/// The result of bundling.
pub(crate) struct Bundle {
    /// The source of the bundle.
    pub(crate) script: String,
    /// The bundled modules, except for the entry. Each has the source of its stub, or `None` if no other module imports
    /// it.
    pub(crate) modules: BTreeMap<String, Option<String>>,
}

#[derive(Debug, Default)]
struct Module {
    imports: Vec<Import>,
    /// The exported name and the local name of each export.
    exports: Vec<(String, String)>,
    body: String,
}

#[derive(Debug)]
struct Import {
    /// The text between `import` and `from`, or an empty string if there are no bindings.
    names: String,
    path: String,
}

/// Bundles `entry` with all modules that it imports, directly or indirectly, except those for which `is_external` is
/// true. `read` returns the source of a module.
///
/// # Errors
/// Fails if a module does not exist, is part of an import cycle, or has an unsupported form.
pub(crate) fn bundle(
    entry: &str,
    is_external: impl Fn(&str) -> bool,
    read: impl Fn(&str) -> Result<String>,
) -> Result<Bundle> {
    let mut bundler = Bundler {
        is_external: &is_external,
        read: &read,
        order: Vec::new(),
        externals: Vec::new(),
        modules: BTreeMap::new(),
    };
    bundler.add(entry, &mut Vec::new())?;

    let shared = bundler.shared_with_dynamic_imports()?;
    let mut script = String::new();
    for (number, module) in bundler.externals.iter().enumerate() {
        script.push_str(&format!(
            "import * as {PREFIX}other_{number} from \"./{module}\";\n"
        ));
    }
    for name in &bundler.order {
        script.push_str(&bundler.module_function(name)?);
    }
    if !shared.is_empty() {
        script.push_str("export const joined = {\n");
        for name in &shared {
            script.push_str(&format!("  {name:?}: {},\n", bundler.exports_name(name)?));
        }
        script.push_str("};\n");
    }
    let mut stubs = BTreeMap::new();
    for (name, module) in &bundler.modules {
        let stub = shared.contains(name).then(|| stub(name, entry, module));
        stubs.insert(name.clone(), stub);
    }
    stubs.remove(entry);
    Ok(Bundle {
        script,
        modules: stubs,
    })
}

struct Bundler<'a> {
    is_external: &'a dyn Fn(&str) -> bool,
    read: &'a dyn Fn(&str) -> Result<String>,
    /// The bundled modules in order of execution: after the modules that they import.
    order: Vec<String>,
    /// Imported modules that are not bundled.
    externals: Vec<String>,
    modules: BTreeMap<String, Module>,
}

impl Bundler<'_> {
    /// Adds the imports of a module and then the module itself. `importers` is the chain of modules that lead to it.
    fn add(&mut self, name: &str, importers: &mut Vec<String>) -> Result<()> {
        if self.modules.contains_key(name) || self.externals.iter().any(|other| other == name) {
            return Ok(());
        }
        if (self.is_external)(name) {
            self.externals.push(name.to_owned());
            return Ok(());
        }
        ensure!(
            !importers.iter().any(|other| other == name),
            "import cycle: {name} imports itself through {importers:?}"
        );
        let source = (self.read)(name)?;
        for word in ["import.meta", "import("] {
            ensure!(
                !source.contains(word) || !name.contains('/'),
                "{name} contains {word}, whose meaning depends on the folder of the module; only modules next to the page may use it"
            );
        }
        ensure!(
            !source.contains(PREFIX),
            "{name} uses the reserved prefix {PREFIX}"
        );
        let module = Module::parse(&source).with_context(|| format!("cannot bundle {name}"))?;
        importers.push(name.to_owned());
        for import in &module.imports {
            self.add(&resolve_import(name, &import.path)?, importers)?;
        }
        importers.pop();
        self.order.push(name.to_owned());
        self.modules.insert(name.to_owned(), module);
        Ok(())
    }

    /// The bundled modules that dynamically imported modules import, directly or indirectly.
    fn shared_with_dynamic_imports(&self) -> Result<Vec<String>> {
        let mut shared = Vec::new();
        for (name, module) in &self.modules {
            for rest in module.body.split("import(\"").skip(1) {
                let path = rest.split('"').next().unwrap_or_default();
                let import = resolve_import(name, path)?;
                // The imports of a bundled module are bundled, too.
                let mut imports = modules(&import, |module| {
                    if self.modules.contains_key(module) {
                        return Ok(String::new());
                    }
                    (self.read)(module)
                })?;
                imports.push(import);
                imports.retain(|import| self.modules.contains_key(import));
                shared.append(&mut imports);
            }
        }
        shared.sort();
        shared.dedup();
        Ok(shared)
    }

    /// The name of the object in the bundle that holds a module's exports.
    fn exports_name(&self, module: &str) -> Result<String> {
        if let Some(number) = self.externals.iter().position(|other| other == module) {
            return Ok(format!("{PREFIX}other_{number}"));
        }
        let number = self.order.iter().position(|other| other == module);
        let number = number.with_context(|| format!("{module} is not bundled"))?;
        Ok(format!("{PREFIX}{number}"))
    }

    /// The code of a module: a function that is called immediately.
    fn module_function(&self, name: &str) -> Result<String> {
        let module = self
            .modules
            .get(name)
            .context("the module is not part of the bundle")?;
        let mut code = format!(
            "// {name}\nconst {} = (() => {{\n",
            self.exports_name(name)?
        );
        for import in &module.imports {
            if import.names.is_empty() {
                continue;
            }
            let from = resolve_import(name, &import.path)?;
            let names = bindings(&import.names).with_context(|| format!("cannot bundle {name}"))?;
            for (imported, local) in &names {
                let exporter = self.modules.get(&from);
                let is_exported = exporter.is_none_or(|exporter| {
                    exporter
                        .exports
                        .iter()
                        .any(|(exported, _)| exported == imported)
                });
                ensure!(
                    is_exported,
                    "{name} imports {imported} as {local} from {from}, which does not export it"
                );
            }
            let names: Vec<String> = names.iter().map(binding).collect();
            code.push_str(&format!(
                "const {{ {} }} = {};\n",
                names.join(", "),
                self.exports_name(&from)?
            ));
        }
        code.push_str(&module.body);
        let exports: Vec<String> = module.exports.iter().map(binding).collect();
        if !exports.is_empty() {
            code.push_str(&format!("return {{ {} }};\n", exports.join(", ")));
        }
        code.push_str("})();\n");
        Ok(code)
    }
}

impl Module {
    fn parse(source: &str) -> Result<Self> {
        let mut module = Self::default();
        let mut in_template = false;
        let mut lines = source.split_inclusive('\n');
        while let Some(line) = lines.next() {
            if !in_template && line.starts_with("import ") {
                let mut statement = line.to_owned();
                while !statement.trim_end().ends_with(';') {
                    statement.push_str(lines.next().context("unterminated import")?);
                }
                module.imports.push(Import::parse(&statement)?);
                continue;
            }
            match line.strip_prefix("export ") {
                Some(rest) if !in_template => module.add_export(rest)?,
                Some(_) | None => module.body.push_str(line),
            }
            in_template ^= line.matches('`').count() % 2 == 1;
        }
        Ok(module)
    }

    fn add_export(&mut self, rest: &str) -> Result<()> {
        if let Some(value) = rest.strip_prefix("default ") {
            let name = format!("{PREFIX}default");
            self.body.push_str(&format!("const {name} = {value}"));
            self.exports.push(("default".to_owned(), name));
            return Ok(());
        }
        let name = ["const ", "function ", "async function ", "class "]
            .iter()
            .find_map(|kind| rest.strip_prefix(kind))
            .map(|named| {
                named
                    .split(|c: char| !is_in_name(c))
                    .next()
                    .unwrap_or_default()
            })
            .filter(|name| !name.is_empty());
        let name =
            name.with_context(|| format!("unsupported export: export {}", rest.trim_end()))?;
        self.exports.push((name.to_owned(), name.to_owned()));
        self.body.push_str(rest);
        Ok(())
    }
}

impl Import {
    fn parse(statement: &str) -> Result<Self> {
        let tokens: Vec<&str> = statement.split_whitespace().collect();
        let line = tokens.join(" ");
        let line = line.strip_prefix("import ").unwrap_or(&line);
        let line = line.strip_suffix(';').unwrap_or(line);
        let (names, path) = line.split_once(" from ").unwrap_or(("", line));
        let path = path
            .strip_prefix('"')
            .and_then(|path| path.strip_suffix('"'));
        Ok(Self {
            names: names.to_owned(),
            path: path
                .with_context(|| format!("unsupported import: {line}"))?
                .to_owned(),
        })
    }
}

/// Parses the bindings of an import: the imported name and the local name of each.
fn bindings(names: &str) -> Result<Vec<(String, String)>> {
    let (default, list) = match names.split_once('{') {
        Some((default, list)) => (
            default,
            list.strip_suffix('}').context("unterminated import list")?,
        ),
        None => (names, ""),
    };
    let default = default.trim().trim_end_matches(',').trim();
    let mut bindings = Vec::new();
    if !default.is_empty() {
        bindings.push(("default".to_owned(), default.to_owned()));
    }
    for name in list
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
    {
        let (imported, local) = name.split_once(" as ").unwrap_or((name, name));
        bindings.push((imported.to_owned(), local.to_owned()));
    }
    for (imported, local) in &bindings {
        if !imported.chars().all(is_in_name) || !local.chars().all(is_in_name) {
            bail!("unsupported import: {names}");
        }
    }
    Ok(bindings)
}

fn binding((imported, local): &(String, String)) -> String {
    if imported == local {
        local.clone()
    } else {
        format!("{imported}: {local}")
    }
}

fn is_in_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

fn resolve_import(module: &str, path: &str) -> Result<String> {
    resolve(module, path)
        .with_context(|| format!("{module} imports {path:?}, which is outside of the page"))
}

/// The source of the stub that replaces a bundled module.
fn stub(name: &str, entry: &str, module: &Module) -> String {
    let up = match name.matches('/').count() {
        0 => "./".to_owned(),
        depth => "../".repeat(depth),
    };
    let (default, named): (Vec<_>, Vec<_>) = module
        .exports
        .iter()
        .partition(|(name, _)| name == "default");
    let named: Vec<&str> = named.iter().map(|(name, _)| name.as_str()).collect();
    let mut source = format!("import {{ joined }} from \"{up}{entry}\";\n");
    if !named.is_empty() {
        source.push_str(&format!(
            "export const {{ {} }} = joined[{name:?}];\n",
            named.join(", ")
        ));
    }
    if !default.is_empty() {
        source.push_str(&format!("export default joined[{name:?}].default;\n"));
    }
    source
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(module: &str) -> Result<String> {
        let source = match module {
            "index.js" => {
                "import \"./parts/a.js\";\nimport {\n  b as bee, default as words,\n} from \"./b.js\";\nimport init, { Node } from \"./pkg/glue.js\";\nstart(bee, words, () => import(\"./later.js\"));\n"
            }
            "parts/a.js" => {
                "import { b } from \"../b.js\";\nexport class A {}\nexport async function go() {\n  await b(`\nexport no export`);\n}\n"
            }
            "b.js" => "export const b = 1;\nexport default {\n  two: 2,\n};\n",
            "later.js" => "import { A } from \"./parts/a.js\";\nimport words from \"./b.js\";\n",
            _ => anyhow::bail!("no {module}"),
        };
        Ok(source.to_owned())
    }

    fn is_external(module: &str) -> bool {
        module.starts_with("pkg/")
    }

    /// Bundles a page that has these modules.
    fn bundle_of(modules: &[(&str, &str)]) -> Result<String> {
        let read = |module: &str| {
            let found = modules.iter().find(|(name, _)| *name == module);
            Ok(found.context("no such module")?.1.to_owned())
        };
        Ok(bundle("index.js", is_external, read)?.script)
    }

    #[test]
    fn modules_become_functions_in_execution_order() -> Result<()> {
        let expected = "\
import * as joined_other_0 from \"./pkg/glue.js\";
// b.js
const joined_0 = (() => {
const b = 1;
const joined_default = {
  two: 2,
};
return { b, default: joined_default };
})();
// parts/a.js
const joined_1 = (() => {
const { b } = joined_0;
class A {}
async function go() {
  await b(`
export no export`);
}
return { A, go };
})();
// index.js
const joined_2 = (() => {
const { b: bee, default: words } = joined_0;
const { default: init, Node } = joined_other_0;
start(bee, words, () => import(\"./later.js\"));
})();
export const joined = {
  \"b.js\": joined_0,
  \"parts/a.js\": joined_1,
};
";
        assert_eq!(bundle("index.js", is_external, read)?.script, expected);
        Ok(())
    }

    #[test]
    fn dynamic_imports_share_the_bundled_instances() -> Result<()> {
        let modules = bundle("index.js", is_external, read)?.modules;
        let expected = [
            (
                "b.js",
                "import { joined } from \"./index.js\";\nexport const { b } = joined[\"b.js\"];\nexport default joined[\"b.js\"].default;\n",
            ),
            (
                "parts/a.js",
                "import { joined } from \"../index.js\";\nexport const { A, go } = joined[\"parts/a.js\"];\n",
            ),
        ];
        let expected = expected.map(|(name, source)| (name.to_owned(), Some(source.to_owned())));
        assert_eq!(modules, BTreeMap::from(expected));
        // A module that only bundled modules import needs no stub.
        let alone = |module: &str| match module {
            "later.js" => Ok(String::new()),
            module => read(module),
        };
        let modules = bundle("index.js", is_external, alone)?.modules;
        assert!(modules.len() == 2 && modules.values().all(Option::is_none));
        Ok(())
    }

    #[test]
    fn unsupported_modules_are_rejected() {
        let bundle_with =
            |other| bundle_of(&[("index.js", "import \"./in/a.js\";\n"), ("in/a.js", other)]);
        assert!(bundle_with("export const a = 1;\n").is_ok());
        for other in [
            "import \"../index.js\";\n",
            "import \"../none.js\";\n",
            "import \"../../out.js\";\n",
            "import \"./half.js\"\n",
            "const here = import.meta.url;\n",
            "const later = () => import(\"./b.js\");\n",
            "const joined_0 = 1;\n",
            "export let a = 1;\n",
            "export { a };\n",
            "export * from \"./b.js\";\n",
            "export const { a } = b;\n",
        ] {
            assert!(bundle_with(other).is_err(), "{other}");
        }
        let bundle_importing =
            |import: &str| bundle_of(&[("index.js", import), ("a.js", "export const a = 1;\n")]);
        assert!(bundle_importing("import { a } from \"./a.js\";\n").is_ok());
        for import in [
            "import { b } from \"./a.js\";\n",
            "import a from \"./a.js\";\n",
            "import * as a from \"./a.js\";\n",
            "import { a from \"./a.js\";\n",
        ] {
            assert!(bundle_importing(import).is_err(), "{import}");
        }
    }
}
