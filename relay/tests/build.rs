//! What the build makes of the wasm and of the page's files.
#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::wildcard_enum_match_arm,
    reason = "modules of the build script; most kinds of sections and instructions do not matter"
)]

#[path = "../build/comments.rs"]
mod comments;
#[path = "../build/wasm_names.rs"]
mod wasm_names;
#[path = "../build/wasm_order.rs"]
mod wasm_order;

use comments::{Language, without_comments};
use wasm_encoder::{
    CodeSection, ConstExpr, ElementSection, Elements, EntityType, ExportKind, ExportSection,
    Function, FunctionSection, ImportSection, MemArg, MemorySection, MemoryType, Module, RefType,
    TableSection, TableType, TypeSection, ValType,
};
use wasmparser::{ElementItems, Operator, Parser, Payload};

/// A function of the test's module: its type, and the instructions.
type Source = (u32, Vec<Call>);

/// The instructions that the test needs.
#[derive(Clone, Copy)]
enum Call {
    Constant(i32),
    Of(u32),
}

/// A module that imports one function, exports all others as `f1`, `f2` ..., and has all of them in a table.
fn module(functions: &[Source]) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([], []);
    types.ty().function([ValType::I32], []);
    let mut imports = ImportSection::new();
    imports.import("host", "log", EntityType::Function(0));
    let (mut section, mut exports, mut code) = (
        FunctionSection::new(),
        ExportSection::new(),
        CodeSection::new(),
    );
    for (index, (ty, calls)) in (1..).zip(functions) {
        section.function(*ty);
        exports.export(&format!("f{index}"), ExportKind::Func, index);
        let mut body = Function::new([]);
        for call in calls {
            match call {
                Call::Constant(value) => body.instructions().i32_const(*value).drop(),
                Call::Of(callee) => body.instructions().call(*callee),
            };
        }
        body.instructions().end();
        code.function(&body);
    }
    let count = u32::try_from(functions.len() + 1).expect("few functions");
    let mut tables = TableSection::new();
    tables.table(TableType {
        element_type: RefType::FUNCREF,
        minimum: count.into(),
        maximum: None,
        table64: false,
        shared: false,
    });
    let mut elements = ElementSection::new();
    let indices: Vec<u32> = (0..count).collect();
    let offset = ConstExpr::i32_const(0);
    elements.active(None, &offset, Elements::Functions(indices.into()));
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&section);
    module.section(&tables).section(&exports).section(&elements);
    module.section(&code);
    module.finish()
}

/// Of each exported function the type and what it does, with calls followed to the constants; and the same of the table.
fn behaviour(module: &[u8]) -> (Vec<String>, Vec<String>) {
    let (mut types, mut bodies, mut exports, mut table) = (vec![], vec![], vec![], vec![]);
    for payload in Parser::new(0).parse_all(module) {
        match payload.expect("a valid module") {
            Payload::FunctionSection(from) => types.extend(from.into_iter().flatten()),
            Payload::CodeSectionEntry(body) => bodies.push(body),
            Payload::ExportSection(from) => {
                exports.extend(from.into_iter().flatten().map(|export| export.index));
            }
            Payload::ElementSection(from) => {
                for element in from.into_iter().flatten() {
                    if let ElementItems::Functions(functions) = element.items {
                        table.extend(functions.into_iter().flatten());
                    }
                }
            }
            _ => {}
        }
    }
    let trace = |index: u32| {
        let mut steps = String::new();
        let mut open = vec![index];
        while let Some(index) = open.pop() {
            let Some(at) = (index as usize).checked_sub(1) else {
                steps += "log ";
                continue;
            };
            steps += &format!("type {} ", types[at]);
            let mut callees = vec![];
            for operator in bodies[at].get_operators_reader().expect("code") {
                match operator.expect("an instruction") {
                    Operator::I32Const { value } => steps += &format!("{value} "),
                    Operator::Call { function_index } => callees.push(function_index),
                    _ => {}
                }
            }
            open.extend(callees);
        }
        steps
    };
    let of = |indices: Vec<u32>| indices.into_iter().map(trace).collect();
    (of(exports), of(table))
}

fn count(module: &[u8]) -> usize {
    let bodies = Parser::new(0).parse_all(module).flatten();
    bodies
        .filter(|payload| matches!(payload, Payload::CodeSectionEntry(_)))
        .count()
}

#[test]
fn equal_functions_are_kept_once() {
    use Call::{Constant, Of};
    // 1 and 3 are equal, so 4 and 5 are, too, which call them, and then 6 and 7. 2 has another type.
    let before = module(&[
        (0, vec![Constant(7), Of(0)]),
        (1, vec![Constant(7), Of(0)]),
        (0, vec![Constant(7), Of(0)]),
        (0, vec![Of(1)]),
        (0, vec![Of(3)]),
        (0, vec![Of(4), Constant(1)]),
        (0, vec![Of(5), Constant(1)]),
        (0, vec![Of(1), Constant(1)]),
    ]);
    let after = wasm_order::reorder(&before).expect("a module");
    assert_eq!((count(&before), count(&after)), (8, 5));
    assert_eq!(behaviour(&after), behaviour(&before));
}

#[test]
fn names_lose_their_hashes_and_stay_different() {
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let mut imports = ImportSection::new();
    for name in ["get_0123456789abcdef", "get_fedcba9876543210", "log"] {
        imports.import("host", name, EntityType::Function(0));
    }
    let mut exports = ExportSection::new();
    // The last one ends with too few digits, and the one before is nothing but digits.
    for (name, index) in [
        ("h00000000000000aa", 2),
        ("00000000000000aa", 1),
        ("h0aa", 0),
    ] {
        exports.export(name, ExportKind::Func, index);
    }
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&exports);
    let module = module.finish();
    let glue =
        "const get_0 = { get_0123456789abcdef: 1, get_fedcba9876543210: wasm.h00000000000000aa };";

    let mut names = wasm_names::ShortNames::new(&module, glue).expect("a module");
    assert_eq!(
        names.in_text(glue),
        "const get_0 = { get_1: 1, get_2: wasm.h0 };"
    );
    let after = names.in_module(&module).expect("a module");
    let (mut imported, mut exported) = (Vec::new(), Vec::new());
    for payload in Parser::new(0).parse_all(&after) {
        match payload.expect("a valid module") {
            Payload::ImportSection(from) => {
                imported.extend(from.into_iter().flatten().map(|import| import.name));
            }
            Payload::ExportSection(from) => {
                let all = from.into_iter().flatten();
                exported.extend(all.map(|export| (export.name, export.index)));
            }
            _ => {}
        }
    }
    assert_eq!(imported, ["get_1", "get_2", "log"]);
    assert_eq!(exported, [("h0", 2), ("00000000000000aa", 1), ("h0aa", 0)]);
}

#[test]
fn alignment_is_left_out_and_no_offset() {
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let mut functions = FunctionSection::new();
    let mut code = CodeSection::new();
    // Only the first two differ in nothing but the alignment.
    for (offset, align) in [(8, 2), (8, 0), (12, 2)] {
        functions.function(0);
        let mut body = Function::new([]);
        let access = MemArg {
            offset,
            align,
            memory_index: 0,
        };
        body.instructions()
            .i32_const(0)
            .i32_load(access)
            .drop()
            .end();
        code.function(&body);
    }
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut before = Module::new();
    before.section(&types).section(&functions);
    before.section(&memories).section(&code);

    let after = wasm_order::reorder(&before.finish()).expect("a module");
    let mut loads = Vec::new();
    for payload in Parser::new(0).parse_all(&after) {
        if let Payload::CodeSectionEntry(body) = payload.expect("a valid module") {
            let operators = body.get_operators_reader().expect("code").into_iter();
            loads.extend(operators.flatten().filter_map(|operator| match operator {
                Operator::I32Load { memarg } => Some((memarg.offset, memarg.align)),
                _ => None,
            }));
        }
    }
    loads.sort_unstable();
    assert_eq!(loads, [(8, 0), (12, 0)]);
}

#[test]
fn similar_functions_become_neighbours() {
    use Call::Constant;
    let like = |kind: i32, own: i32| {
        let shared = (0..20).map(|at| Constant(kind * 1000 + at));
        (0, [Constant(own)].into_iter().chain(shared).collect())
    };
    // By code alone, the kinds would alternate.
    let before = module(&[like(1, 1), like(2, 2), like(1, 3), like(2, 4), like(1, 5)]);
    let after = wasm_order::reorder(&before).expect("a module");
    assert_eq!(behaviour(&after), behaviour(&before));
    let mut kinds = Vec::new();
    for payload in Parser::new(0).parse_all(&after) {
        if let Payload::CodeSectionEntry(body) = payload.expect("a valid module") {
            let mut reader = body.get_operators_reader().expect("code");
            let [_, _, third] = [(); 3].map(|()| reader.read().expect("an instruction"));
            if let Operator::I32Const { value } = third {
                kinds.push(value / 1000);
            }
        }
    }
    kinds.dedup();
    assert_eq!(kinds.len(), 2, "{kinds:?}");
}

#[test]
fn equal_modules_are_ordered_equally() {
    let functions: Vec<Source> = (0..50)
        .map(|at| (0, vec![Call::Constant(at % 7), Call::Constant(at)]))
        .collect();
    let module = module(&functions);
    let first = wasm_order::reorder(&module).expect("a module");
    assert_eq!(first, wasm_order::reorder(&module).expect("a module"));
    assert_eq!(first, wasm_order::reorder(&first).expect("a module"));
}

#[test]
fn comments_become_empty_lines() {
    let text = "/* One\n * two */\nlet a = 1; // kept\n  // gone\n/** gone */\nlet b = 'image/*' + `x` /* kept */;\n";
    let code = without_comments(text, Language::JavaScript).expect("nothing unclear");
    assert_eq!(
        code,
        "\n\nlet a = 1; // kept\n\n\nlet b = 'image/*' + `x` /* kept */;\n"
    );
    let begun = without_comments("/*/\nlet gone;\n*/\nlet kept;\n", Language::JavaScript);
    assert_eq!(begun.as_deref(), Some("\n\n\nlet kept;\n"));
    let style = "a { color: red; }\n/* gone\n   too */\n// no comment\n";
    let code = without_comments(style, Language::Css).expect("nothing unclear");
    assert_eq!(code, "a { color: red; }\n\n\n// no comment\n");
}

#[test]
fn unclear_files_are_served_as_they_are() {
    for text in [
        "const page = `\n// part of the text\n`;",
        "const type = 'image/*';\n",
        "let a = 1; /* one\n/* two */\n",
        "/* one */ let a = 1;\n",
        "const text = 'a \\\n// part of the text';\n",
        "/* never ends\n",
        "/*/ ends here */ let a = 1;\n",
        "const list = `<ul>${items.map((item) => `\n// part of the text\n`)}</ul>`;\n",
        "const tick = '`'; const text = `\n// part of the text\n`;\n",
    ] {
        assert_eq!(without_comments(text, Language::JavaScript), None, "{text}");
    }
}

#[test]
fn only_scripts_and_styles_have_comments() {
    let of = Language::of;
    assert_eq!(of("components/chart.js"), Some(Language::JavaScript));
    assert_eq!(of("index.css"), Some(Language::Css));
    for path in [
        "index.html",
        "pkg/wasm_node.d.ts",
        "icon.svg",
        "js",
        "app.webmanifest",
    ] {
        assert_eq!(of(path), None, "{path}");
    }
}
