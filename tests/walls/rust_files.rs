//! Which source file of a crate names which: an arrow from A to B means that A names an item of the module in file B.
//!
//! Counted are `use` items, paths in code, in attributes and in the arguments of macros, and declarations of modules:
//! `mod b;` in A is an arrow to B even if A names nothing else of B, because B may implement A's types. So a module that
//! imports from a module above it is a circle. An item that is imported through a re-export is an arrow to the file
//! with the re-export. Whatever is `#[cfg(test)]` is left out; all other conditions count as true.
//!
//! Not seen are: methods and fields of a type whose name is not written; macros that are called without a path; names
//! in strings, such as `#[serde(with = "…")]`; files behind `include!`; names that macros make up; modules that
//! macros declare. Links in documentation do not count.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path, PathBuf},
};

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, ImplItem, Item, ItemMod, ItemUse, Macro, Meta, Token, TraitItem, UseTree,
    Visibility,
    ext::IdentExt,
    punctuated::Punctuated,
    visit::{self, Visit},
};

use crate::graph::{Graph, Mention};

/// Returns the text of the file at a path, if there is such a file.
pub(crate) type Read<'a> = &'a dyn Fn(&Path) -> Option<String>;

/// Follows the modules of a crate from its root file and returns which file names which.
///
/// # Errors
///
/// A file that is not Rust, or a module without a file.
pub(crate) fn graph_of(root: &Path, read: Read<'_>) -> Result<Graph, String> {
    let mut tree = ModuleTree::default();
    tree.load(&normal(root), None, true, read)?;
    let mut graph = Graph::default();
    for (at, module) in tree.modules.iter().enumerate() {
        for named in &module.named {
            for file in tree.files_behind(at, &named.path) {
                let mention = Mention {
                    line: named.line,
                    text: named.path.join("::"),
                };
                graph.add(&module.file, &file, mention);
            }
        }
        for child in module.children.values() {
            let declared = &tree.modules[*child];
            let mention = Mention {
                line: declared.declared_at,
                text: format!("mod {}", declared.name),
            };
            graph.add(&module.file, &declared.file, mention);
        }
    }
    Ok(graph)
}

/// All modules of a crate; the first is the root.
#[derive(Debug, Default)]
struct ModuleTree {
    modules: Vec<Module>,
}

#[derive(Debug, Default)]
struct Module {
    name: String,
    file: String,
    /// Line in the parent's file.
    declared_at: usize,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    /// What `use` brings into scope, by its name here. Functions may import different items under one name.
    imports: BTreeMap<String, Vec<Vec<String>>>,
    /// What `use …::*` brings into scope.
    globs: Vec<Vec<String>>,
    named: Vec<Named>,
}

#[derive(Debug)]
struct Named {
    path: Vec<String>,
    line: usize,
}

impl ModuleTree {
    /// Loads a file and the modules that it declares, and returns the number of its module. The modules below a file
    /// that is an `owner` of its folder are next to it; those of any other file are in a folder with its name.
    fn load(
        &mut self,
        file: &Path,
        parent: Option<usize>,
        owner: bool,
        read: Read<'_>,
    ) -> Result<usize, String> {
        let shown = file.to_string_lossy().replace('\\', "/");
        let text = read(file).ok_or_else(|| format!("{shown} cannot be read"))?;
        let syntax = syn::parse_file(&text).map_err(|error| format!("{shown}: {error}"))?;
        let folder = file.parent().unwrap_or(Path::new(""));
        let number = self.modules.len();
        self.modules.push(Module {
            file: shown,
            parent,
            ..Module::default()
        });
        let mut visitor = FileVisitor {
            tree: self,
            module: number,
            beside: folder.to_owned(),
            below: if owner {
                folder.to_owned()
            } else {
                file.with_extension("")
            },
            inline: false,
            read,
            error: None,
        };
        visitor.visit_file(&syntax);
        visitor.error.map_or(Ok(number), Err)
    }

    /// The files whose items a path names, read from a module.
    fn files_behind(&self, from: usize, path: &[String]) -> BTreeSet<String> {
        let mut files = BTreeSet::new();
        self.walk(from, path, &mut files, &mut BTreeSet::new());
        files
    }

    /// Follows a path and adds the files that it names to `files`. Returns the modules that it may name.
    fn walk(
        &self,
        from: usize,
        path: &[String],
        files: &mut BTreeSet<String>,
        visited: &mut BTreeSet<(usize, String)>,
    ) -> Vec<usize> {
        let Some((first, rest)) = path.split_first() else {
            return Vec::new();
        };
        let starts = match first.as_str() {
            "crate" => vec![0],
            "self" => vec![from],
            "super" => self.modules[from].parent.into_iter().collect(),
            name => self.in_scope(from, name, visited),
        };
        let mut ends = Vec::new();
        for start in starts {
            self.descend(start, rest, files, visited, &mut ends);
        }
        ends
    }

    fn descend(
        &self,
        module: usize,
        path: &[String],
        files: &mut BTreeSet<String>,
        visited: &mut BTreeSet<(usize, String)>,
        ends: &mut Vec<usize>,
    ) {
        let here = &self.modules[module];
        let Some((name, rest)) = path.split_first() else {
            files.insert(here.file.clone());
            ends.push(module);
            return;
        };
        if name == "self" {
            return self.descend(module, rest, files, visited, ends);
        }
        if name == "super" {
            if let Some(parent) = here.parent {
                self.descend(parent, rest, files, visited, ends);
            }
            return;
        }
        if let Some(child) = here.children.get(name) {
            return self.descend(*child, rest, files, visited, ends);
        }
        // An item, or a module that this one re-exports.
        files.insert(here.file.clone());
        for module in self.in_scope(module, name, visited) {
            self.descend(module, rest, files, visited, ends);
        }
    }

    /// The modules that a name stands for inside a module. None for items and for other crates.
    fn in_scope(
        &self,
        module: usize,
        name: &str,
        visited: &mut BTreeSet<(usize, String)>,
    ) -> Vec<usize> {
        let here = &self.modules[module];
        if let Some(child) = here.children.get(name) {
            return vec![*child];
        }
        if !visited.insert((module, name.to_owned())) {
            return Vec::new();
        }
        // The files on the way were named by the `use` itself, not by the path that uses its name.
        let passed = &mut BTreeSet::new();
        let mut found = Vec::new();
        for path in here.imports.get(name).into_iter().flatten() {
            found.extend(self.walk(module, path, passed, visited));
        }
        if found.is_empty() {
            for glob in &here.globs {
                for target in self.walk(module, glob, passed, visited) {
                    found.extend(self.in_scope(target, name, visited));
                }
            }
        }
        visited.remove(&(module, name.to_owned()));
        found
    }
}

/// Collects what one file declares and names.
struct FileVisitor<'a> {
    tree: &'a mut ModuleTree,
    /// The module that is being read: the file's, or one that is written inside it.
    module: usize,
    /// Where `#[path]` starts from.
    beside: PathBuf,
    /// Where the files of declared modules are.
    below: PathBuf,
    /// Whether the module is written inside its parent's file.
    inline: bool,
    read: Read<'a>,
    error: Option<String>,
}

impl FileVisitor<'_> {
    fn here(&mut self) -> &mut Module {
        &mut self.tree.modules[self.module]
    }

    fn name(&mut self, path: Vec<String>, line: usize) {
        self.here().named.push(Named { path, line });
    }

    fn import(&mut self, tree: &UseTree, before: &[String]) {
        let mut path = before.to_vec();
        match tree {
            UseTree::Path(next) => {
                path.push(next.ident.unraw().to_string());
                self.import(&next.tree, &path);
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, before);
                }
            }
            UseTree::Name(name) => {
                self.import_as(path, &name.ident, &name.ident);
            }
            UseTree::Rename(rename) => {
                self.import_as(path, &rename.ident, &rename.rename);
            }
            UseTree::Glob(glob) => {
                let line = glob.star_token.spans[0].start().line;
                self.here().globs.push(path.clone());
                self.name(path, line);
            }
        }
    }

    fn import_as(&mut self, mut path: Vec<String>, item: &syn::Ident, alias: &syn::Ident) {
        // `use a::b::{self}` brings `b` into scope.
        let mut alias = alias.unraw().to_string();
        if item != "self" {
            path.push(item.unraw().to_string());
        } else if alias == "self"
            && let Some(last) = path.last()
        {
            alias.clone_from(last);
        }
        let imports = self.here().imports.entry(alias).or_default();
        imports.push(path.clone());
        self.name(path, item.span().start().line);
    }

    fn declare(&mut self, item: &ItemMod) -> Result<(), String> {
        let name = item.ident.unraw().to_string();
        let line = item.ident.span().start().line;
        let parent = self.module;
        if let Some((_, items)) = &item.content {
            let number = self.tree.modules.len();
            let file = self.here().file.clone();
            self.tree.modules.push(Module {
                name: name.clone(),
                file,
                declared_at: line,
                parent: Some(parent),
                ..Module::default()
            });
            self.here().children.insert(name.clone(), number);
            let outside = (self.below.clone(), self.inline);
            self.below.push(name);
            (self.module, self.inline) = (number, true);
            items.iter().for_each(|item| self.visit_item(item));
            self.module = parent;
            (self.below, self.inline) = outside;
            return Ok(());
        }
        let written = item.attrs.iter().find_map(path_attribute);
        let (file, owner) = if let Some(path) = written {
            let base = if self.inline {
                &self.below
            } else {
                &self.beside
            };
            (normal(&base.join(path)), true)
        } else {
            let flat = self.below.join(format!("{name}.rs"));
            if (self.read)(&flat).is_some() {
                (flat, false)
            } else {
                (self.below.join(&name).join("mod.rs"), true)
            }
        };
        let child = self.tree.load(&file, Some(parent), owner, self.read)?;
        let declared = &mut self.tree.modules[child];
        (declared.name, declared.declared_at) = (name.clone(), line);
        self.here().children.insert(name, child);
        Ok(())
    }

    /// Finds paths such as `crate::a::B` in code that is not parsed.
    fn scan(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut line = 0;
        // The colons since the last name, and whether a dot or a colon came before the first one.
        let mut colons = 0;
        let mut continued = false;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 || path.is_empty() {
                        self.end_of_path(&mut path, line, continued);
                        continued = colons >= 2;
                        line = ident.span().start().line;
                    }
                    path.push(ident.unraw().to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => {
                    self.end_of_path(&mut path, line, continued);
                    colons = 0;
                    self.scan(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {
                    self.end_of_path(&mut path, line, continued);
                    colons = 0;
                }
            }
        }
        self.end_of_path(&mut path, line, continued);
    }

    /// One name alone is a variable, a keyword, or was imported; `::a::b` is of another crate.
    fn end_of_path(&mut self, path: &mut Vec<String>, line: usize, continued: bool) {
        let path = std::mem::take(path);
        if path.len() > 1 && !continued {
            self.name(path, line);
        }
    }
}

impl<'ast> Visit<'ast> for FileVisitor<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !attributes_of(item).iter().any(is_test_only) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes: &[Attribute] = match item {
            ImplItem::Const(item) => &item.attrs,
            ImplItem::Fn(item) => &item.attrs,
            ImplItem::Type(item) => &item.attrs,
            ImplItem::Macro(item) => &item.attrs,
            ImplItem::Verbatim(_) | _ => &[],
        };
        if !attributes.iter().any(is_test_only) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_trait_item(&mut self, item: &'ast TraitItem) {
        let attributes: &[Attribute] = match item {
            TraitItem::Const(item) => &item.attrs,
            TraitItem::Fn(item) => &item.attrs,
            TraitItem::Type(item) => &item.attrs,
            TraitItem::Macro(item) => &item.attrs,
            TraitItem::Verbatim(_) | _ => &[],
        };
        if !attributes.iter().any(is_test_only) {
            visit::visit_trait_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if let Err(error) = self.declare(item) {
            self.error.get_or_insert(error);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if item.leading_colon.is_none() {
            self.import(&item.tree, &[]);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() && path.segments.len() > 1 {
            let line = path.segments[0].ident.span().start().line;
            let names = path.segments.iter().map(|s| s.ident.unraw().to_string());
            self.name(names.collect(), line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, invoked: &'ast Macro) {
        self.visit_path(&invoked.path);
        self.scan(invoked.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        self.visit_path(attribute.path());
        if let Meta::List(list) = &attribute.meta {
            self.scan(list.tokens.clone());
        }
    }

    // `pub(in crate::a)` names no item.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}
}

/// Whether `#[cfg(…)]` leaves an item out of everything but unit tests.
fn is_test_only(attribute: &Attribute) -> bool {
    fn needs_test(condition: &Meta) -> bool {
        if condition.path().is_ident("test") {
            return true;
        }
        match condition {
            Meta::List(list) if list.path.is_ident("all") => list
                .parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
                .is_ok_and(|all| all.iter().any(needs_test)),
            Meta::List(_) | Meta::Path(_) | Meta::NameValue(_) => false,
        }
    }
    attribute.path().is_ident("cfg")
        && attribute
            .parse_args::<Meta>()
            .is_ok_and(|condition| needs_test(&condition))
}

fn path_attribute(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(pair) = &attribute.meta else {
        return None;
    };
    if let syn::Expr::Lit(value) = &pair.value
        && let syn::Lit::Str(text) = &value.lit
        && pair.path.is_ident("path")
    {
        return Some(text.value());
    }
    None
}

/// The same path without `..`, so that a file has one name.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir && normal.file_name().is_some() {
            normal.pop();
        } else {
            normal.push(part);
        }
    }
    normal
}

fn attributes_of(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        Item::Verbatim(_) | _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The arrows of a crate with these files in `src`, as `from->to`.
    fn arrows(files: &[(&str, &str)]) -> Vec<String> {
        let graph = graph(files);
        let short = |file: &str| {
            file.trim_start_matches("src/")
                .trim_end_matches(".rs")
                .to_owned()
        };
        graph
            .arrows()
            .map(|(from, to)| format!("{}->{}", short(from), short(to)))
            .collect()
    }

    fn circles(files: &[(&str, &str)]) -> usize {
        graph(files).circles().len()
    }

    fn graph(files: &[(&str, &str)]) -> Graph {
        let files: BTreeMap<_, _> = files
            .iter()
            .map(|(file, text)| (Path::new("src").join(file), (*text).to_owned()))
            .collect();
        graph_of(Path::new("src/lib.rs"), &|file| files.get(file).cloned())
            .expect("the example is Rust")
    }

    const ROOT: (&str, &str) = ("lib.rs", "mod a; mod b; mod c;");

    #[test]
    fn crate_without_circles_has_none() {
        let files = [
            ROOT,
            (
                "a.rs",
                "use crate::b::{B, self as other}; fn f() { other::g(); crate::c::h() }",
            ),
            ("b.rs", "pub struct B; pub fn g() { super::c::h() }"),
            ("c.rs", "use std::fmt; pub fn h() { fmt::format() }"),
        ];
        assert_eq!(
            arrows(&files),
            ["a->b", "a->c", "b->c", "lib->a", "lib->b", "lib->c"]
        );
        assert_eq!(circles(&files), 0);
    }

    #[test]
    fn circle_of_two_files_is_found() {
        let files = [
            ROOT,
            ("a.rs", "\nuse crate::b::B;\npub struct A;"),
            ("b.rs", "pub struct B;\n\nfn f(a: super::a::A) {}"),
            ("c.rs", ""),
        ];
        let graph = graph(&files);
        let found: Vec<_> = graph.circles().into_iter().collect();
        assert_eq!(found, [["src/a.rs", "src/b.rs"]]);
        assert_eq!(
            graph.describe(&found[0]),
            "a circle of 2 files\n  src/a.rs names src/b.rs (line 2: crate::b::B)\n  \
             src/b.rs names src/a.rs (line 3: super::a::A)"
        );
    }

    #[test]
    fn circle_of_three_files_is_found() {
        let files = [
            ROOT,
            ("a.rs", "use crate::b::X;"),
            ("b.rs", "use crate::{c::X};"),
            ("c.rs", "fn f() { use super::a; a::X::new() }"),
        ];
        let graph = graph(&files);
        let found: Vec<_> = graph.circles().into_iter().collect();
        assert_eq!(found, [["src/a.rs", "src/b.rs", "src/c.rs"]]);
    }

    #[test]
    fn import_from_the_parent_is_a_circle() {
        for text in [
            "use super::Thing;",
            "use super::*;",
            "use crate::Thing;",
            "fn f(thing: super::Thing) {}",
            "impl crate::Thing {}",
            "mod inner { use super::super::Thing; }",
        ] {
            let files = [("lib.rs", "mod a; pub struct Thing;"), ("a.rs", text)];
            assert_eq!(circles(&files), 1, "{text}");
        }
    }

    #[test]
    fn import_of_a_sibling_skips_the_parent() {
        for text in [
            "use super::b;",
            "use super::b::{self, X};",
            "use crate::b::*;",
            "fn f() { super::b::g() }",
            "mod inner { use super::super::b::X; }",
        ] {
            let files = [ROOT, ("a.rs", text), ("b.rs", ""), ("c.rs", "")];
            assert_eq!(
                arrows(&files),
                ["a->b", "lib->a", "lib->b", "lib->c"],
                "{text}"
            );
        }
    }

    #[test]
    fn re_export_counts_as_its_file() {
        let folder = ("b/low.rs", "pub struct X;");
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::X;"),
            ("b.rs", "mod low; pub use low::X;"),
            folder,
        ];
        assert_eq!(arrows(&files), ["a->b", "b->b/low", "lib->a", "lib->b"]);
        let through_root = [
            ("lib.rs", "mod a; mod b; pub use b::X;"),
            ("a.rs", "use crate::X;"),
            ("b.rs", "pub struct X;"),
        ];
        assert_eq!(circles(&through_root), 1);
        let module = [
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::deep::X;"),
            ("b.rs", "mod low; pub use low as deep;"),
            folder,
        ];
        assert_eq!(
            arrows(&module),
            ["a->b", "a->b/low", "b->b/low", "lib->a", "lib->b"]
        );
    }

    #[test]
    fn names_from_a_glob_are_followed() {
        let files = [
            ROOT,
            ("a.rs", "use crate::c::*; fn f() { b::g() }"),
            ("b.rs", "pub fn g() {}"),
            ("c.rs", "pub use crate::b;"),
        ];
        assert!(arrows(&files).contains(&"a->b".to_owned()));
    }

    #[test]
    fn unit_tests_do_not_count() {
        for text in [
            "#[cfg(test)] mod tests { use crate::b::B; }",
            "#[cfg(test)] mod tests;",
            "#[cfg(all(test, unix))] use crate::b::B;",
            "struct A; impl A { #[cfg(test)] fn f(b: crate::b::B) {} }",
        ] {
            let files = [
                ROOT,
                ("a.rs", text),
                ("a/tests.rs", "use crate::b::B;"),
                ("b.rs", "use crate::a::A; pub struct B;"),
                ("c.rs", ""),
            ];
            assert_eq!(circles(&files), 0, "{text}");
        }
        for text in [
            "#[cfg(not(test))] use crate::b::B;",
            "#[cfg(any(test, unix))] use crate::b::B;",
        ] {
            let files = [
                ROOT,
                ("a.rs", text),
                ("b.rs", "use crate::a::A;"),
                ("c.rs", ""),
            ];
            assert_eq!(circles(&files), 1, "{text}");
        }
    }

    #[test]
    fn paths_in_macros_and_attributes_are_found() {
        for text in [
            "fn f() { println!(\"{}\", crate::b::g(1)) }",
            "fn f() { outer!({ inner!(super::b::X) }) }",
            "macro_rules! m { () => { $crate::b::g() } }",
            "#[derive(crate::b::Derive)] struct X;",
            "fn f() { crate::b::mac!() }",
            "use super::b as other; fn f() { assert!(other::g()) }",
        ] {
            let files = [ROOT, ("a.rs", text), ("b.rs", ""), ("c.rs", "")];
            assert!(arrows(&files).contains(&"a->b".to_owned()), "{text}");
        }
    }

    #[test]
    fn other_crates_and_visibilities_do_not_count() {
        let files = [
            ROOT,
            (
                "a.rs",
                "//! [`crate::b`]\nuse ::b::X; use serde::b; pub(in crate::b) struct A; \
                 fn f() { ::b::g(); tokio::b::g(); m!(::b::g(), x.b::<u8>()) }",
            ),
            ("b.rs", ""),
            ("c.rs", ""),
        ];
        assert_eq!(arrows(&files), ["lib->a", "lib->b", "lib->c"]);
    }

    #[test]
    fn modules_are_found_in_their_places() {
        let files = [
            (
                "lib.rs",
                "mod a; #[path = \"../build/b.rs\"] mod b; mod inline { mod d; }",
            ),
            ("a/mod.rs", "mod c;"),
            ("a/c.rs", "mod e;"),
            ("a/c/e.rs", ""),
            ("inline/d.rs", "use super::super::b::X;"),
        ];
        let mut files: BTreeMap<_, _> = files
            .iter()
            .map(|(file, text)| (Path::new("src").join(file), (*text).to_owned()))
            .collect();
        files.insert(PathBuf::from("build/b.rs"), String::new());
        let graph = |files: &BTreeMap<PathBuf, String>| {
            graph_of(Path::new("src/lib.rs"), &|file| files.get(file).cloned())
        };
        let found = graph(&files).expect("the example is Rust");
        let arrows: Vec<_> = found.arrows().collect();
        assert_eq!(
            arrows,
            [
                ("src/a/c.rs", "src/a/c/e.rs"),
                ("src/a/mod.rs", "src/a/c.rs"),
                ("src/inline/d.rs", "build/b.rs"),
                ("src/lib.rs", "build/b.rs"),
                ("src/lib.rs", "src/a/mod.rs"),
                ("src/lib.rs", "src/inline/d.rs"),
            ]
        );
        files.remove(Path::new("src/a/c/e.rs"));
        assert!(graph(&files).is_err(), "a missing file is an error");
    }
}
