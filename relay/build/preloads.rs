//! Tells browsers at the beginning of a page which modules it will import. Otherwise they would learn of each row of them
//! only when the one before has come. Reads imports as this project writes them: each path on a line that begins with
//! `import`, `export` or, after several lines of names, `} from`. A module that is imported only when somebody needs it
//! (`import(...)`) is not among them.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// Before this, the page is told.
const END_OF_HEAD: &str = "</head>";

/// The page with a `modulepreload` for every module that `entry` imports, or one that it imports. `read` gives a module's
/// source.
///
/// # Errors
/// If a module is not there, or the page has no head.
pub(crate) fn with_preloads(
    page: &str,
    entry: &str,
    read: impl Fn(&str) -> Result<String>,
) -> Result<String> {
    let (before, behind) = page
        .split_once(END_OF_HEAD)
        .context("the page has no head")?;
    let links: String = modules(entry, read)?
        .iter()
        .map(|module| format!("  <link rel=\"modulepreload\" href=\"{module}\">\n"))
        .collect();
    Ok(format!("{before}{links}{END_OF_HEAD}{behind}"))
}

/// All modules behind `entry`, those nearest to it first.
pub(crate) fn modules(entry: &str, read: impl Fn(&str) -> Result<String>) -> Result<Vec<String>> {
    let mut found = vec![entry.to_owned()];
    let mut known: BTreeSet<String> = found.iter().cloned().collect();
    let mut at = 0;
    while let Some(module) = found.get(at).cloned() {
        at += 1;
        let source = read(&module)?;
        for path in imports(&source) {
            let import = resolved(&module, path)
                .with_context(|| format!("{module} imports {path:?}, which is not below it"))?;
            if known.insert(import.clone()) {
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

/// Where a path in a module leads, from the page; `None` if out of it.
pub(crate) fn resolved(module: &str, path: &str) -> Option<String> {
    let mut place = PathBuf::from(module);
    place.pop();
    for part in Path::new(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => place.pop().then_some(())?,
            Component::Normal(name) => place.push(name),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(place.to_str()?.replace('\\', "/"))
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
    fn all_that_is_imported_at_once_is_told_each_once_the_nearest_first() -> Result<()> {
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
    fn a_module_that_is_not_there_and_a_page_without_a_head_are_errors() {
        assert!(modules("none.js", read).is_err());
        assert!(modules("out.js", read).is_err());
        assert!(with_preloads("<p>", "index.js", read).is_err());
    }
}
