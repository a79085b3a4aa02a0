//! Adds a `modulepreload` link to the page for each module that it imports. Otherwise a browser would discover each
//! level of imports only after it has received the level before.
//!
//! It supports only the forms of imports that this project uses: each path is on a line that begins with `import`,
//! `export` or, after several lines of names, `} from`. Dynamic imports (`import(...)`) are not included.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// The links are inserted before this tag.
const END_OF_HEAD: &str = "</head>";

/// The page with a `modulepreload` link for every module that `entry` imports, directly or indirectly. `read` returns
/// the source of a module.
///
/// # Errors
/// Fails if a module does not exist, or the page has no head.
pub(crate) fn with_preloads(
    page: &str,
    entry: &str,
    read: impl Fn(&str) -> Result<String>,
) -> Result<String> {
    let (before, after) = page
        .split_once(END_OF_HEAD)
        .context("the page has no head")?;
    let links: String = modules(entry, read)?
        .iter()
        .map(|module| format!("  <link rel=\"modulepreload\" href=\"{module}\">\n"))
        .collect();
    Ok(format!("{before}{links}{END_OF_HEAD}{after}"))
}

/// All modules that `entry` imports, directly or indirectly, in breadth-first order.
pub(crate) fn modules(entry: &str, read: impl Fn(&str) -> Result<String>) -> Result<Vec<String>> {
    let mut found = vec![entry.to_owned()];
    let mut seen: BTreeSet<String> = found.iter().cloned().collect();
    let mut at = 0;
    while let Some(module) = found.get(at).cloned() {
        at += 1;
        let source = read(&module)?;
        for path in imports(&source) {
            let import = resolve(&module, path).with_context(|| {
                format!("{module} imports {path:?}, which is outside of the page")
            })?;
            if seen.insert(import.clone()) {
                found.push(import);
            }
        }
    }
    found.remove(0);
    Ok(found)
}

fn imports(source: &str) -> impl Iterator<Item = &str> {
    source.lines().filter_map(|line| {
        let rest = if let Some(rest) = line.strip_prefix("import \"") {
            rest
        } else if ["import ", "export {", "export *", "} from "]
            .iter()
            .any(|start| line.starts_with(start))
        {
            line.split_once(" from \"")?.1
        } else {
            return None;
        };
        Some(rest.split_once('"')?.0)
    })
}

/// Resolves a path in a module, relative to the page. `None` if it is outside of the page.
pub(crate) fn resolve(module: &str, path: &str) -> Option<String> {
    let mut target = PathBuf::from(module);
    target.pop();
    for part in Path::new(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => target.pop().then_some(())?,
            Component::Normal(name) => target.push(name),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(target.to_str()?.replace('\\', "/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(module: &str) -> Result<String> {
        let source = match module {
            "index.js" => {
                "import \"./parts/a.js\";\nimport {\n  b,\n} from \"./b.js\";\nconst later = () => import(\"./later.js\");\n"
            }
            "parts/a.js" => "import { b } from \"../b.js\";\nexport * from \"./deep/c.js\";\n",
            "b.js" => {
                "export const text = ` from \"./no-module.js\"`;\n  import \"./indented.js\"\n"
            }
            "parts/deep/c.js" => "import { a } from \"../a.js\";\n",
            "out.js" => "import \"../../out.js\";\n",
            _ => anyhow::bail!("no {module}"),
        };
        Ok(source.to_owned())
    }

    #[test]
    fn each_static_import_is_preloaded_once() -> Result<()> {
        assert_eq!(
            modules("index.js", read)?,
            ["parts/a.js", "b.js", "parts/deep/c.js"]
        );
        let page = with_preloads("<head>\n</head>\n<body>", "parts/deep/c.js", read)?;
        assert_eq!(
            page,
            "<head>\n  <link rel=\"modulepreload\" href=\"parts/a.js\">\n  <link rel=\"modulepreload\" href=\"b.js\">\n</head>\n<body>"
        );
        Ok(())
    }

    #[test]
    fn missing_modules_and_missing_head_are_errors() {
        assert!(modules("none.js", read).is_err());
        assert!(modules("out.js", read).is_err());
        assert!(with_preloads("<p>", "index.js", read).is_err());
    }
}
