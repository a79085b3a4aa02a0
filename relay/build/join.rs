//! Joins the modules that the page imports into one, each in a function of its own: a browser takes some 3 ms for every file,
//! however small it is. Reads imports and exports as this project writes them, at the beginning of a line, and refuses
//! whatever it does not know. Never changes a line but these.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};

use crate::preloads::{modules, resolved};

/// What the joined module calls its parts, and no part may use.
const PREFIX: &str = "joined_";

/// Modules in one.
pub(crate) struct Joined {
    /// The source.
    pub(crate) script: String,
    /// The modules in it, each with a source that stands for it: whatever is imported later, by a module that is not in it,
    /// must get the same instance. `None` where nothing asks for it.
    pub(crate) parts: BTreeMap<String, Option<String>>,
}

#[derive(Debug, Default)]
struct Module {
    imports: Vec<Import>,
    /// Names as importers know them, and as the module does.
    exports: Vec<(String, String)>,
    body: String,
}

#[derive(Debug)]
struct Import {
    /// Between `import` and `from`; empty where nothing is named.
    names: String,
    path: String,
}

/// Joins `entry` with all that it imports, but for those modules that `apart` names. `read` gives a module's source.
///
/// # Errors
/// If a module is not there, imports in a circle, or is written in a way that this does not know.
pub(crate) fn join(
    entry: &str,
    apart: impl Fn(&str) -> bool,
    read: impl Fn(&str) -> Result<String>,
) -> Result<Joined> {
    let mut joiner = Joiner {
        apart: &apart,
        read: &read,
        order: Vec::new(),
        others: Vec::new(),
        modules: BTreeMap::new(),
    };
    joiner.take(entry, &mut Vec::new())?;

    let wanted = joiner.wanted_later()?;
    let mut script = String::new();
    for (number, module) in joiner.others.iter().enumerate() {
        script.push_str(&format!(
            "import * as {PREFIX}other_{number} from \"./{module}\";\n"
        ));
    }
    for name in &joiner.order {
        script.push_str(&joiner.part(name)?);
    }
    if !wanted.is_empty() {
        script.push_str("export const joined = {\n");
        for name in &wanted {
            script.push_str(&format!("  {name:?}: {},\n", joiner.name(name)?));
        }
        script.push_str("};\n");
    }
    let mut parts = BTreeMap::new();
    for (name, module) in &joiner.modules {
        let stands_in = wanted.contains(name).then(|| stand_in(name, entry, module));
        parts.insert(name.clone(), stands_in);
    }
    parts.remove(entry);
    Ok(Joined { script, parts })
}

struct Joiner<'a> {
    apart: &'a dyn Fn(&str) -> bool,
    read: &'a dyn Fn(&str) -> Result<String>,
    /// As they are to be run: what a module imports comes before it.
    order: Vec<String>,
    /// Imported, and left apart.
    others: Vec<String>,
    modules: BTreeMap<String, Module>,
}

impl Joiner<'_> {
    /// Takes a module in, and before it what it imports. `above` are those that are waiting for it.
    fn take(&mut self, name: &str, above: &mut Vec<String>) -> Result<()> {
        if self.modules.contains_key(name) || self.others.iter().any(|other| other == name) {
            return Ok(());
        }
        if (self.apart)(name) {
            self.others.push(name.to_owned());
            return Ok(());
        }
        ensure!(
            !above.iter().any(|other| other == name),
            "{name} imports itself, by way of {above:?}"
        );
        let source = (self.read)(name)?;
        for word in ["import.meta", "import("] {
            ensure!(
                !source.contains(word) || !name.contains('/'),
                "{name} says {word}, which means another place once it is joined; only modules beside the page may"
            );
        }
        ensure!(
            !source.contains(PREFIX),
            "{name} uses a name that begins with {PREFIX}"
        );
        let module = Module::parse(&source).with_context(|| format!("cannot join {name}"))?;
        above.push(name.to_owned());
        for import in &module.imports {
            self.take(&place(name, &import.path)?, above)?;
        }
        above.pop();
        self.order.push(name.to_owned());
        self.modules.insert(name.to_owned(), module);
        Ok(())
    }

    /// Joined modules that a module imports which is itself imported only when it is needed.
    fn wanted_later(&self) -> Result<Vec<String>> {
        let mut wanted = Vec::new();
        for (name, module) in &self.modules {
            for later in module.body.split("import(\"").skip(1) {
                let path = later.split('"').next().unwrap_or_default();
                let later = place(name, path)?;
                // What a joined module imports comes with it.
                let mut imports = modules(&later, |module| {
                    if self.modules.contains_key(module) {
                        return Ok(String::new());
                    }
                    (self.read)(module)
                })?;
                imports.push(later);
                imports.retain(|import| self.modules.contains_key(import));
                wanted.append(&mut imports);
            }
        }
        wanted.sort();
        wanted.dedup();
        Ok(wanted)
    }

    /// What a module's exports are called.
    fn name(&self, module: &str) -> Result<String> {
        if let Some(number) = self.others.iter().position(|other| other == module) {
            return Ok(format!("{PREFIX}other_{number}"));
        }
        let number = self.order.iter().position(|other| other == module);
        let number = number.with_context(|| format!("{module} is not joined"))?;
        Ok(format!("{PREFIX}{number}"))
    }

    /// A module as a function that is called at once.
    fn part(&self, name: &str) -> Result<String> {
        let module = self.modules.get(name).context("it was taken in")?;
        let mut part = format!("// {name}\nconst {} = (() => {{\n", self.name(name)?);
        for import in &module.imports {
            if import.names.is_empty() {
                continue;
            }
            let from = place(name, &import.path)?;
            let names = bindings(&import.names).with_context(|| format!("cannot join {name}"))?;
            for (theirs, ours) in &names {
                let exporter = self.modules.get(&from);
                let known = exporter.is_none_or(|exporter| {
                    exporter
                        .exports
                        .iter()
                        .any(|(exported, _)| exported == theirs)
                });
                ensure!(
                    known,
                    "{name} imports {theirs} as {ours} from {from}, which has none"
                );
            }
            let names: Vec<String> = names.iter().map(binding).collect();
            part.push_str(&format!(
                "const {{ {} }} = {};\n",
                names.join(", "),
                self.name(&from)?
            ));
        }
        part.push_str(&module.body);
        let exports: Vec<String> = module.exports.iter().map(binding).collect();
        if !exports.is_empty() {
            part.push_str(&format!("return {{ {} }};\n", exports.join(", ")));
        }
        part.push_str("})();\n");
        Ok(part)
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
                    statement.push_str(lines.next().context("an import without an end")?);
                }
                module.imports.push(Import::parse(&statement)?);
                continue;
            }
            match line.strip_prefix("export ") {
                Some(rest) if !in_template => module.take_export(rest)?,
                Some(_) | None => module.body.push_str(line),
            }
            in_template ^= line.matches('`').count() % 2 == 1;
        }
        Ok(module)
    }

    fn take_export(&mut self, rest: &str) -> Result<()> {
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
            name.with_context(|| format!("what is exported by: export {}", rest.trim_end()))?;
        self.exports.push((name.to_owned(), name.to_owned()));
        self.body.push_str(rest);
        Ok(())
    }
}

impl Import {
    fn parse(statement: &str) -> Result<Self> {
        let words: Vec<&str> = statement.split_whitespace().collect();
        let line = words.join(" ");
        let line = line.strip_prefix("import ").unwrap_or(&line);
        let line = line.strip_suffix(';').unwrap_or(line);
        let (names, path) = line.split_once(" from ").unwrap_or(("", line));
        let path = path
            .strip_prefix('"')
            .and_then(|path| path.strip_suffix('"'));
        Ok(Self {
            names: names.to_owned(),
            path: path
                .with_context(|| format!("what is imported by: {line}"))?
                .to_owned(),
        })
    }
}

/// What an import names: as the other module knows it, and as this one does.
fn bindings(names: &str) -> Result<Vec<(String, String)>> {
    let (default, list) = match names.split_once('{') {
        Some((default, list)) => (
            default,
            list.strip_suffix('}').context("a list without an end")?,
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
        let (theirs, ours) = name.split_once(" as ").unwrap_or((name, name));
        bindings.push((theirs.to_owned(), ours.to_owned()));
    }
    for (theirs, ours) in &bindings {
        if !theirs.chars().all(is_in_name) || !ours.chars().all(is_in_name) {
            bail!("what is imported by: {names}");
        }
    }
    Ok(bindings)
}

fn binding((theirs, ours): &(String, String)) -> String {
    if theirs == ours {
        ours.clone()
    } else {
        format!("{theirs}: {ours}")
    }
}

fn is_in_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

fn place(module: &str, path: &str) -> Result<String> {
    resolved(module, path)
        .with_context(|| format!("{module} imports {path:?}, which is not below it"))
}

/// The source of a module that is in the joined one.
fn stand_in(name: &str, entry: &str, module: &Module) -> String {
    let up = match name.matches('/').count() {
        0 => "./".to_owned(),
        deep => "../".repeat(deep),
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

    fn apart(module: &str) -> bool {
        module.starts_with("pkg/")
    }

    /// What comes of a page that has these modules.
    fn joined(modules: &[(&str, &str)]) -> Result<String> {
        let read = |module: &str| {
            let found = modules.iter().find(|(name, _)| *name == module);
            Ok(found.context("no such module")?.1.to_owned())
        };
        Ok(join("index.js", apart, read)?.script)
    }

    #[test]
    fn modules_become_functions_in_the_order_in_which_a_browser_runs_them() -> Result<()> {
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
        assert_eq!(join("index.js", apart, read)?.script, expected);
        Ok(())
    }

    #[test]
    fn what_is_imported_later_gets_the_instances_that_are_joined() -> Result<()> {
        let parts = join("index.js", apart, read)?.parts;
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
        assert_eq!(parts, BTreeMap::from(expected));
        // Nothing asks for what only the joined modules import.
        let alone = |module: &str| match module {
            "later.js" => Ok(String::new()),
            module => read(module),
        };
        let parts = join("index.js", apart, alone)?.parts;
        assert!(parts.len() == 2 && parts.values().all(Option::is_none));
        Ok(())
    }

    #[test]
    fn whatever_would_mean_something_else_is_refused() {
        let beside = |other| joined(&[("index.js", "import \"./in/a.js\";\n"), ("in/a.js", other)]);
        assert!(beside("export const a = 1;\n").is_ok());
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
            assert!(beside(other).is_err(), "{other}");
        }
        let naming =
            |import: &str| joined(&[("index.js", import), ("a.js", "export const a = 1;\n")]);
        assert!(naming("import { a } from \"./a.js\";\n").is_ok());
        for import in [
            "import { b } from \"./a.js\";\n",
            "import a from \"./a.js\";\n",
            "import * as a from \"./a.js\";\n",
            "import { a from \"./a.js\";\n",
        ] {
            assert!(naming(import).is_err(), "{import}");
        }
    }
}
