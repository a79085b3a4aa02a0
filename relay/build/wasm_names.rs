//! Shortens the names by which the wasm and its glue refer to each other.
//!
//! wasm-bindgen ends most of them with a hash of 16 digits, so that crates cannot use the same one. Hashes do not compress,
//! and each is downloaded twice. The module is complete here, so a short number distinguishes names as well.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
};

use anyhow::{Context as _, Result};
use wasm_encoder::{
    ExportSection, ImportSection, Module,
    reencode::{Error, Reencode},
};
use wasmparser::{Export, Import, Parser, Payload};

const HASH_DIGITS: usize = 16;

/// The new name of each import and export that ends with a hash.
pub(crate) struct ShortNames(HashMap<String, String>);

impl ShortNames {
    /// Names for this module that the text of its glue does not contain.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "sections without names, of any kind"
    )]
    pub(crate) fn new(module: &[u8], glue: &str) -> Result<Self> {
        let mut taken: HashSet<String> = words(glue).map(str::to_owned).collect();
        let mut names = Vec::new();
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::ImportSection(section) => {
                    for import in section {
                        names.push(import?.name);
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        names.push(export?.name);
                    }
                }
                _ => {}
            }
        }
        taken.extend(names.iter().map(|name| (*name).to_owned()));
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let mut short = HashMap::new();
        for name in names {
            let Some(stem) = without_hash(name) else {
                continue;
            };
            let number = numbers.entry(stem).or_default();
            let free = loop {
                let candidate = format!("{stem}{number}");
                *number += 1;
                if taken.insert(candidate.clone()) {
                    break candidate;
                }
            };
            short.entry(name.to_owned()).or_insert(free);
        }
        Ok(Self(short))
    }

    /// The module with the new names.
    pub(crate) fn in_module(&mut self, module: &[u8]) -> Result<Vec<u8>> {
        let mut to = Module::new();
        self.parse_core_module(&mut to, Parser::new(0), module)?;
        let renamed = to.finish();
        wasmparser::validate(&renamed).context("the renamed module is not valid")?;
        Ok(renamed)
    }

    /// The text of the glue or of its types with the new names.
    pub(crate) fn in_text(&self, text: &str) -> String {
        let mut to = String::with_capacity(text.len());
        let mut rest = text;
        for word in words(text) {
            if let Some((before, after)) = rest.split_once(word) {
                to.push_str(before);
                to.push_str(self.of(word));
                rest = after;
            }
        }
        to + rest
    }

    fn of<'a>(&'a self, name: &'a str) -> &'a str {
        self.0.get(name).map_or(name, String::as_str)
    }
}

impl Reencode for ShortNames {
    type Error = Infallible;

    fn parse_import(
        &mut self,
        imports: &mut ImportSection,
        import: Import<'_>,
    ) -> Result<(), Error<Infallible>> {
        let kind = self.entity_type(import.ty)?;
        imports.import(import.module, self.of(import.name), kind);
        Ok(())
    }

    fn parse_export(
        &mut self,
        exports: &mut ExportSection,
        export: Export<'_>,
    ) -> Result<(), Error<Infallible>> {
        let kind = self.export_kind(export.kind)?;
        exports.export(self.of(export.name), kind, export.index);
        Ok(())
    }
}

/// The part of a name before its hash.
fn without_hash(name: &str) -> Option<&str> {
    let (stem, hash) = name.split_at_checked(name.len().checked_sub(HASH_DIGITS)?)?;
    let is_hash = hash
        .bytes()
        .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    (is_hash && !stem.is_empty()).then_some(stem)
}

/// The identifiers, keywords and numbers of a script.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !(character.is_alphanumeric() || matches!(character, '_' | '$')))
        .filter(|word| !word.is_empty())
}
