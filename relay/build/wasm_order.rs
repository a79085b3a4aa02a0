//! Removes duplicate functions from a wasm module and sorts the others, so that it compresses better.
//!
//! Generic Rust code is compiled once for each type. Many copies are equal byte for byte, and most of the others are
//! almost equal. wasm-bindgen writes functions by size, so that a compressor finds similar ones far apart. Here each
//! function follows the one that it resembles most. What means nothing, the alignment of accesses to memory, is made equal.

use std::{
    cmp::Reverse,
    collections::HashMap,
    convert::Infallible,
    hash::{DefaultHasher, Hash, Hasher as _},
};

use anyhow::{Context as _, Result, bail, ensure};
use wasm_encoder::{
    CodeSection, CustomSection, DataCountSection, DataSection, ElementSection, Encode as _,
    ExportSection, FunctionSection, GlobalSection, ImportSection, MemArg, MemorySection, Module,
    StartSection, TableSection, TypeSection,
    reencode::{Error, Reencode},
};
use wasmparser::{FunctionBody, Parser, Payload, TypeRef};

/// Leaves out the alignment that each access to memory is expected to have. It changes no result, browsers on 64-bit processors
/// ignore it, and without it more code is equal.
struct WithoutAlignment;

impl Reencode for WithoutAlignment {
    type Error = Infallible;

    fn mem_arg(&mut self, access: wasmparser::MemArg) -> Result<MemArg, Error<Infallible>> {
        Ok(MemArg {
            offset: access.offset,
            align: 0,
            memory_index: access.memory,
        })
    }
}

/// The functions of a module.
struct Functions<'a> {
    /// Imported functions come first in the index space.
    imported: usize,
    /// The index of each other function's type.
    types: Vec<u32>,
    /// The code of each other function.
    bodies: Vec<FunctionBody<'a>>,
}

impl<'a> Functions<'a> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "sections without functions, of any kind"
    )]
    fn read(module: &'a [u8]) -> Result<Self> {
        let (mut imported, mut types, mut bodies) = (0, Vec::new(), Vec::new());
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::ImportSection(section) => {
                    for import in section {
                        imported += usize::from(matches!(import?.ty, TypeRef::Func(_)));
                    }
                }
                Payload::FunctionSection(section) => {
                    types = section.into_iter().collect::<Result<_, _>>()?;
                }
                Payload::CodeSectionEntry(body) => bodies.push(body),
                _ => {}
            }
        }
        ensure!(
            types.len() == bodies.len(),
            "functions and their code differ in number"
        );
        Ok(Self {
            imported,
            types,
            bodies,
        })
    }

    /// For each function of the index space the first one that does the same. Functions whose only difference is that they
    /// call different ones of equal functions are equal, too.
    fn representatives(&self) -> Result<Renumbered> {
        let count = self.imported + self.bodies.len();
        let mut numbers = Renumbered((0..count).map(u32::try_from).collect::<Result<_, _>>()?);
        loop {
            let mut first: HashMap<(u32, Vec<u8>), u32> = HashMap::new();
            let mut next = numbers.0.clone();
            for (at, body) in self.bodies.iter().enumerate() {
                let own = &mut next[self.imported + at];
                let key = (self.types[at], numbers.code(body)?);
                *own = *first.entry(key).or_insert(*own);
            }
            if next == numbers.0 {
                return Ok(numbers);
            }
            numbers.0 = next;
        }
    }
}

/// The new index of each function.
struct Renumbered(Vec<u32>);

impl Renumbered {
    /// The bytes of this function's code.
    fn code(&mut self, body: &FunctionBody<'_>) -> Result<Vec<u8>> {
        let mut section = CodeSection::new();
        self.parse_function_body(&mut section, body.clone())?;
        let mut code = Vec::new();
        section.encode(&mut code);
        Ok(code)
    }
}

impl Reencode for Renumbered {
    type Error = Infallible;

    fn function_index(&mut self, index: u32) -> Result<u32, Error<Infallible>> {
        let new = usize::try_from(index)
            .ok()
            .and_then(|index| self.0.get(index));
        new.copied().ok_or(Error::InvalidCodeSectionSize)
    }
}

/// How many hashes a sketch has. More find better neighbours, and take longer.
const SKETCH_LEN: usize = 64;
/// How many functions that share a hash of the sketch are looked at.
const MAX_SHARING: usize = 300;
/// How many functions are compared in full, those first that share most hashes of the sketch.
const MAX_COMPARED: usize = 60;

/// What a function's code is compared by.
struct Likeness {
    /// Hashes of each two successive instructions, sorted, without duplicates.
    pairs: Vec<u64>,
    /// Functions share as many of these as their sets of pairs overlap: MinHash (Broder, "On the resemblance and containment
    /// of documents", 1997).
    sketch: [u64; SKETCH_LEN],
}

impl Likeness {
    fn of(body: &FunctionBody<'_>, module: &[u8]) -> Result<Self> {
        /// The opcode of `call`.
        const CALL: u8 = 0x10;
        let mut starts = Vec::new();
        for operator in body.get_operators_reader()?.into_iter_with_offsets() {
            starts.push(operator?.1);
        }
        let ends = starts.iter().skip(1).copied().chain([body.range().end]);
        let instructions = starts.iter().zip(ends).map(|(start, end)| {
            match module.get(*start..end).unwrap_or_default() {
                // Copies of a function call different copies of others.
                [CALL, ..] => &[CALL][..],
                instruction => instruction,
            }
        });
        let instructions: Vec<&[u8]> = instructions.collect();
        let mut pairs: Vec<u64> = instructions.windows(2).map(hash).collect();
        pairs.sort_unstable();
        pairs.dedup();
        let mut sketch = [u64::MAX; SKETCH_LEN];
        for pair in &pairs {
            for (at, lowest) in sketch.iter_mut().enumerate() {
                *lowest = hash((at, pair)).min(*lowest);
            }
        }
        Ok(Self { pairs, sketch })
    }

    /// The share of pairs of instructions that both functions have (the Jaccard index), from 0 to 1.
    fn resemblance(&self, other: &Self) -> f64 {
        let mut rest = other.pairs.iter().peekable();
        let mut shared = 0_u32;
        for pair in &self.pairs {
            while rest.next_if(|next| *next < pair).is_some() {}
            shared += u32::from(rest.next_if_eq(&pair).is_some());
        }
        let shared = f64::from(shared);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a function has far fewer instructions"
        )]
        let all = (self.pairs.len() + other.pairs.len()) as f64 - shared;
        shared / all.max(1.0)
    }
}

fn hash(value: impl Hash) -> u64 {
    // Its keys are constant, so that two builds are equal.
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The positions of these functions: each comes behind the one of the rest that it resembles most.
fn by_resemblance(functions: &[Likeness]) -> Vec<usize> {
    let mut sharing: HashMap<(usize, u64), Vec<usize>> = HashMap::new();
    for (at, function) in functions.iter().enumerate() {
        for key in function.sketch.iter().copied().enumerate() {
            sharing.entry(key).or_default().push(at);
        }
    }
    let mut placed = vec![false; functions.len()];
    let mut order = Vec::with_capacity(functions.len());
    while let Some(start) = placed.iter().position(|placed| !placed) {
        let mut next = Some(start);
        while let Some(at) = next {
            placed[at] = true;
            order.push(at);
            let mut shared: HashMap<usize, usize> = HashMap::new();
            for key in functions[at].sketch.iter().copied().enumerate() {
                let others = sharing.entry(key).or_default();
                others.retain(|other| !placed[*other]);
                for other in others.iter().take(MAX_SHARING) {
                    *shared.entry(*other).or_default() += 1;
                }
            }
            let mut candidates: Vec<usize> = shared.keys().copied().collect();
            candidates.sort_by_key(|other| (Reverse(shared[other]), *other));
            candidates.truncate(MAX_COMPARED);
            let resemblance = |other: &usize| functions[at].resemblance(&functions[*other]);
            // Of several that are equally similar, the first.
            next = candidates
                .into_iter()
                .rev()
                .max_by(|one, other| resemblance(one).total_cmp(&resemblance(other)));
        }
    }
    order
}

/// The module with each function once: those of a type together, and similar ones next to each other.
pub(crate) fn reorder(module: &[u8]) -> Result<Vec<u8>> {
    let mut unaligned = Module::new();
    WithoutAlignment.parse_core_module(&mut unaligned, Parser::new(0), module)?;
    let module = &unaligned.finish();
    let functions = Functions::read(module)?;
    let imported = functions.imported;
    let mut numbers = functions.representatives()?;

    let mut order: Vec<usize> = (0..functions.bodies.len()).collect();
    order.retain(|at| numbers.0.get(imported + at) == u32::try_from(imported + at).ok().as_ref());
    order.sort_by_key(|at| {
        let code = functions.bodies[*at].range();
        (functions.types[*at], &module[code])
    });
    let mut similar: Vec<usize> = Vec::with_capacity(order.len());
    for group in order.chunk_by(|one, other| functions.types[*one] == functions.types[*other]) {
        let likenesses = group
            .iter()
            .map(|at| Likeness::of(&functions.bodies[*at], module));
        let likenesses: Vec<Likeness> = likenesses.collect::<Result<_>>()?;
        similar.extend(by_resemblance(&likenesses).iter().map(|at| group[*at]));
    }
    let order = similar;
    let mut new: HashMap<u32, u32> = HashMap::new();
    for at in 0..imported {
        new.insert(u32::try_from(at)?, u32::try_from(at)?);
    }
    for (position, at) in order.iter().enumerate() {
        new.insert(
            u32::try_from(imported + at)?,
            u32::try_from(imported + position)?,
        );
    }
    for number in &mut numbers.0 {
        *number = *new.get(number).context("a function without a place")?;
    }
    write(module, &functions, &order, &mut numbers)
}

/// Copies the module, with these of its functions in this order.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "sections of the component model, which no module has, and future ones"
)]
fn write(
    module: &[u8],
    functions: &Functions<'_>,
    order: &[usize],
    numbers: &mut Renumbered,
) -> Result<Vec<u8>> {
    let mut to = Module::new();
    for payload in Parser::new(0).parse_all(module) {
        macro_rules! copy {
            ($section:ident, $from:expr, $parse:ident) => {{
                let mut section = $section::new();
                numbers.$parse(&mut section, $from)?;
                to.section(&section);
            }};
        }
        match payload? {
            Payload::TypeSection(from) => copy!(TypeSection, from, parse_type_section),
            Payload::ImportSection(from) => copy!(ImportSection, from, parse_import_section),
            Payload::FunctionSection(_) => {
                let mut section = FunctionSection::new();
                for at in order {
                    section.function(functions.types[*at]);
                }
                to.section(&section);
            }
            Payload::TableSection(from) => copy!(TableSection, from, parse_table_section),
            Payload::MemorySection(from) => copy!(MemorySection, from, parse_memory_section),
            Payload::GlobalSection(from) => copy!(GlobalSection, from, parse_global_section),
            Payload::ExportSection(from) => copy!(ExportSection, from, parse_export_section),
            Payload::StartSection { func, .. } => {
                let function_index = numbers.function_index(func)?;
                to.section(&StartSection { function_index });
            }
            Payload::ElementSection(from) => copy!(ElementSection, from, parse_element_section),
            Payload::DataCountSection { count, .. } => {
                to.section(&DataCountSection { count });
            }
            Payload::CodeSectionStart { .. } => {
                let mut section = CodeSection::new();
                for at in order {
                    numbers.parse_function_body(&mut section, functions.bodies[*at].clone())?;
                }
                to.section(&section);
            }
            Payload::DataSection(from) => copy!(DataSection, from, parse_data_section),
            Payload::CustomSection(from) => {
                let name = from.name();
                ensure!(name != "name", "names would no longer match");
                to.section(&CustomSection {
                    name: name.into(),
                    data: from.data().into(),
                });
            }
            Payload::Version { .. } | Payload::CodeSectionEntry(_) | Payload::End(_) => {}
            other => bail!("an unknown section: {other:?}"),
        }
    }
    let written = to.finish();
    wasmparser::validate(&written).context("the sorted module is not valid")?;
    Ok(written)
}
