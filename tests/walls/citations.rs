//! Whether what cites a document or a heading of it can be followed.
//!
//! Seen are `docs/x.md` in any text file, with what may follow: `#heading`, `, "Heading"` or, a few words later, `under
//! "Heading"`, also across the lines of a comment. In Markdown, links to files and headings are seen, too. Not seen are
//! addresses of other sites.

use std::collections::{BTreeMap, BTreeSet};

use crate::workspace::{root, texts};

/// This file, whose citations are examples.
const EXAMPLES: &str = "tests/walls/citations.rs";
/// The types of files that cite documents.
const EXTENSIONS: [&str; 10] = [
    "css", "html", "js", "md", "mjs", "py", "rs", "sh", "toml", "ts",
];
/// How far behind a document its heading may be named, in characters.
const REACH: usize = 40;
/// Citations of headings in the sources, at least. With fewer, something is no longer seen.
const MIN_CITATIONS: usize = 40;

/// A mention of a document in a file. Both are paths from the root of the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Citation {
    file: String,
    line: usize,
    document: String,
    place: Option<Place>,
}

/// The part of a document that is cited.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// By the anchor of its heading.
    Anchor(String),
    /// By its heading as it is written.
    Heading(String),
}

#[test]
fn citations_lead_to_files_and_headings() {
    let mut texts = texts(&EXTENSIONS);
    assert!(texts.remove(EXAMPLES).is_some(), "this file is seen");
    let citations = citations(&texts);
    let places = citations.iter().filter(|found| found.place.is_some());
    let places = places.count();
    assert!(
        places >= MIN_CITATIONS,
        "only {places} citations of headings"
    );
    let broken = broken(&citations, &texts, |path| root().join(path).exists());
    assert!(
        broken.is_empty(),
        "these citations lead nowhere: {broken:#?}"
    );
}

#[test]
fn broken_citations_are_found() {
    let texts = [
        (
            "docs/rules.md",
            "# Rules\n\n## How `work` counts\n```\n# not a heading\n```\n\
             [up](../README.md), [there](#how-work-counts), [gone](#gone), [site](https://example.org/docs/x.md#y)\n\
             [a file](../src/a.rs), [no file](../src/b.rs)\n",
        ),
        ("README.md", "[rules](docs/rules.md#rules), `docs/none.md`"),
        (
            "src/a.rs",
            "//! See docs/rules.md, \"Rules\", and docs/rules.md, \"How\n//! `work` counts\".\n\
             // The format is in `docs/rules.md`, under\n// \"Bytes\". A row of a[i](b) is no link.\n\
             // docs/rules.md says it. \"Rules\" is a word here.\n\
             // docs/rules.md#not-a-heading\n",
        ),
    ];
    let texts = texts.map(|(file, text)| (file.to_owned(), text.to_owned()));
    let texts = BTreeMap::from(texts);
    let citations = citations(&texts);
    let broken = broken(&citations, &texts, |path| texts.contains_key(path));
    assert_eq!(
        broken,
        [
            "README.md:1: docs/none.md",
            "docs/rules.md:7: docs/rules.md#gone",
            "docs/rules.md:8: src/b.rs",
            "src/a.rs:3: docs/rules.md, \"Bytes\"",
            "src/a.rs:6: docs/rules.md#not-a-heading",
        ]
    );
    let places = citations.iter().filter(|found| found.place.is_some());
    assert_eq!(places.count(), 7);
}

/// The citations that cannot be followed. `exists` tells whether there is a file or folder.
fn broken(
    citations: &[Citation],
    texts: &BTreeMap<String, String>,
    exists: impl Fn(&str) -> bool,
) -> Vec<String> {
    let mut broken = Vec::new();
    for citation in citations {
        let Citation {
            file,
            line,
            document,
            place,
        } = citation;
        let headings = || headings(texts.get(document).map_or("", String::as_str));
        let (is_found, place) = match place {
            None => (true, String::new()),
            Some(Place::Anchor(anchor)) => {
                let mut anchors = headings().into_iter().map(|heading| anchor_of(&heading));
                (anchors.any(|found| found == *anchor), format!("#{anchor}"))
            }
            Some(Place::Heading(heading)) => {
                (headings().contains(heading), format!(", \"{heading}\""))
            }
        };
        if !is_found || !exists(document) {
            broken.push(format!("{file}:{line}: {document}{place}"));
        }
    }
    broken
}

/// All citations in these files, whose paths are relative to the root.
fn citations(texts: &BTreeMap<String, String>) -> Vec<Citation> {
    let mut citations = Vec::new();
    for (file, text) in texts {
        let is_markdown = file.ends_with(".md");
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let next = lines.get(at + 1).copied().unwrap_or_default();
            let place = |document, place| Citation {
                file: file.clone(),
                line: at + 1,
                document,
                place,
            };
            for (document, rest) in documents(line) {
                let rest = format!("{rest} {}", without_comment_mark(next));
                citations.push(place(document, place_in(&rest)));
            }
            if is_markdown {
                let targets = link_targets(line).filter_map(|target| target_of(file, target));
                citations.extend(targets.map(|(document, found)| place(document, found)));
            }
        }
    }
    citations
}

/// The documents that a line names as `docs/x.md`, each with the rest of the line.
fn documents(line: &str) -> impl Iterator<Item = (String, &str)> {
    line.match_indices("docs/").filter_map(move |(at, _)| {
        let (before, named) = line.split_at(at);
        // A part of another path or of an address, or a link, which is seen as such.
        let is_part = |last: char| last.is_alphanumeric() || "/-_.".contains(last);
        if before.chars().next_back().is_some_and(is_part) || before.ends_with("](") {
            return None;
        }
        let (name, rest) = named.split_once(".md")?;
        let is_name =
            |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '/' | '-' | '_');
        name.chars()
            .all(is_name)
            .then(|| (format!("{name}.md"), rest))
    })
}

/// The part of a document that the text right behind its name cites.
fn place_in(rest: &str) -> Option<Place> {
    if let Some(anchor) = rest.strip_prefix('#') {
        let is_end = |letter: char| !letter.is_alphanumeric() && !matches!(letter, '-' | '_');
        return anchor.split(is_end).next().map(anchor_place);
    }
    let rest = rest.trim_start_matches(['`', ']', ')']);
    let quoted = match rest.strip_prefix(", \"") {
        Some(quoted) => quoted,
        None => {
            let (between, quoted) = rest.split_once("under \"")?;
            if between.chars().count() > REACH || between.contains('.') {
                return None;
            }
            quoted
        }
    };
    let (heading, _) = quoted.split_once('"')?;
    // English puts commas and full stops before the closing quotation mark, or behind it.
    let heading = heading.trim_end_matches([',', '.']);
    Some(Place::Heading(heading.to_owned()))
}

fn anchor_place(anchor: &str) -> Place {
    Place::Anchor(anchor.to_owned())
}

/// A line without what marks it as a comment.
fn without_comment_mark(line: &str) -> &str {
    line.trim_start()
        .trim_start_matches("//")
        .trim_start_matches(['/', '!', '#', '*'])
        .trim_start()
}

/// The targets of the links in a line of Markdown.
fn link_targets(line: &str) -> impl Iterator<Item = &str> {
    let links = line.split("](").skip(1);
    links.filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
}

/// What a link in a file leads to. `None` if that is another site.
fn target_of(file: &str, target: &str) -> Option<(String, Option<Place>)> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, place) = match target.split_once('#') {
        // Of a source, an anchor is a line.
        Some((path, anchor)) if path.is_empty() || path.ends_with(".md") => {
            (path, Some(anchor_place(anchor)))
        }
        Some((path, _)) => (path, None),
        None => (target, None),
    };
    if path.is_empty() {
        return Some((file.to_owned(), place));
    }
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    Some((parts.join("/"), place))
}

/// The headings of a document.
fn headings(text: &str) -> BTreeSet<String> {
    let mut is_code = false;
    let mut headings = BTreeSet::new();
    for line in text.lines() {
        is_code ^= line.starts_with("```");
        let heading = line.trim_start_matches('#');
        if !is_code && heading.len() < line.len() && heading.starts_with(' ') {
            headings.insert(heading.trim().to_owned());
        }
    }
    headings
}

/// The anchor that GitHub gives a heading.
fn anchor_of(heading: &str) -> String {
    let kept = heading.chars().filter_map(|letter| match letter {
        ' ' => Some('-'),
        '-' | '_' => Some(letter),
        letter => letter.is_alphanumeric().then_some(letter),
    });
    kept.collect::<String>().to_lowercase()
}
