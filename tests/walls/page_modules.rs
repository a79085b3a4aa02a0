//! Which module of the page imports which, statically or dynamically.
//!
//! Seen are relative paths in quotes right after `from`, `import` or `import(`, outside comments. Not seen are paths that
//! are put together while the page runs. Workers are programs of their own, so a worker's URL does not count.

use std::{collections::BTreeMap, path::Path};

use crate::graph::{Graph, Mention};

/// Returns which of the files imports which. `files` maps paths to texts. An arrow may lead to a file that is not among
/// them, such as a built one.
pub(crate) fn graph_of(files: &BTreeMap<String, String>) -> Graph {
    let mut graph = Graph::default();
    for (file, text) in files {
        let code = without_comments(text);
        for (at, _) in code.match_indices(['"', '\'', '`']) {
            let (before, rest) = code.split_at(at);
            let (quote, rest) = rest.split_at(1);
            let before = before.trim_end();
            let imports = ["from", "import", "import("]
                .iter()
                .any(|word| before.ends_with(word));
            let Some((path, _)) = rest.split_once(quote) else {
                continue;
            };
            if imports && path.starts_with('.') {
                let line = before.matches('\n').count() + 1;
                let text = format!("{quote}{path}{quote}");
                graph.add(file, &resolve(file, path), Mention { line, text });
            }
        }
    }
    graph
}

/// The same lines, without comments that begin a line or end on the line on which they begin.
fn without_comments(text: &str) -> String {
    let mut code = String::new();
    for line in text.lines() {
        let mut line = line.to_owned();
        while let Some((before, (_, after))) = line
            .split_once("/*")
            .and_then(|(before, rest)| Some((before, rest.split_once("*/")?)))
        {
            line = format!("{before} {after}");
        }
        let start = line.trim_start();
        if !["//", "*", "/*"].iter().any(|mark| start.starts_with(mark)) {
            code.push_str(&line);
        }
        code.push('\n');
    }
    code
}

/// The path of the imported file. A query is part of the URL, not of the file's name.
fn resolve(file: &str, path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    let folder = Path::new(file).parent().unwrap_or(Path::new(""));
    let mut parts: Vec<_> = folder.to_str().unwrap_or_default().split('/').collect();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(files: &[(&str, &str)]) -> Graph {
        let files = files
            .iter()
            .map(|(file, text)| ((*file).to_owned(), (*text).to_owned()))
            .collect();
        graph_of(&files)
    }

    #[test]
    fn all_kinds_of_imports_are_found() {
        let graph = graph(&[(
            "www/parts/a.js",
            "import \"./b.js\";\nimport {\n  c,\n  d,\n} from '../c.js?v=1';\nexport * from \"./d.js\";\n\
             const e = await import(\n  \"../other/e.js\"\n);\n",
        )]);
        let arrows: Vec<_> = graph.arrows().map(|(_, to)| to).collect();
        assert_eq!(
            arrows,
            [
                "www/c.js",
                "www/other/e.js",
                "www/parts/b.js",
                "www/parts/d.js"
            ]
        );
    }

    #[test]
    fn comments_texts_and_workers_do_not_count() {
        let graph = graph(&[(
            "www/a.js",
            "//! import \"./b.js\"\n/**\n * @type {import(\"./b.js\").B}\n */\n\
             let x; /** @type {import(\"./b.js\").B} */ let y;\nsay(\"./b.js\");\n\
             new Worker(new URL(\"./b.js\", import.meta.url)); import fs from \"node:fs\";\n",
        )]);
        assert_eq!(graph.arrows().count(), 0);
    }

    #[test]
    fn circle_of_modules_is_found_with_lines() {
        let graph = graph(&[
            ("www/a.js", "//! A.\n\nimport { b } from \"./b.js\";\n"),
            ("www/b.js", "const late = () => import(\"./c.js\");\n"),
            ("www/c.js", "import { a } from \"./a.js\";\n"),
            ("www/d.js", "import { a } from \"./a.js\";\n"),
        ]);
        let found: Vec<_> = graph.circles().into_iter().collect();
        assert_eq!(found, [["www/a.js", "www/b.js", "www/c.js"]]);
        assert_eq!(
            graph.describe(&found[0]),
            "a circle of 3 files\n  www/a.js names www/b.js (line 3: \"./b.js\")\n  \
             www/b.js names www/c.js (line 1: \"./c.js\")\n  www/c.js names www/a.js (line 1: \"./a.js\")"
        );
    }
}
