//! Runs every input of `corpus/`, seeds and past findings, through its target without libFuzzer.

use std::fs;

use heartchain_chain::content::ReadingForm;
use heartchain_sync::message::{Request, Response};

#[test]
fn corpus_inputs_pass() {
    for (name, target) in fuzz::TARGETS {
        let folder = format!("{}/corpus/{name}", env!("CARGO_MANIFEST_DIR"));
        let mut inputs = 0;
        for input in fs::read_dir(&folder).expect("every target has seeds") {
            let path = input.expect("a file").path();
            println!("{}", path.display());
            target(&fs::read(&path).expect("it can be read"));
            inputs += 1;
        }
        assert!(inputs > 0, "{folder} is empty");
    }
}

/// A seed that does not decode teaches the fuzzer nothing of what comes after.
#[test]
fn seeds_of_messages_decode() {
    type Decodes = fn(ReadingForm, &[u8]) -> bool;
    let decoders: [(&str, Decodes); 2] = [
        ("request", |form, data| Request::decode(form, data).is_ok()),
        ("response", |form, data| {
            Response::decode(form, data).is_ok()
        }),
    ];
    for (name, decodes) in decoders {
        let folder = format!("{}/corpus/{name}", env!("CARGO_MANIFEST_DIR"));
        for input in fs::read_dir(&folder).expect("every target has seeds") {
            let path = input.expect("a file").path();
            let file = path.file_name().expect("a name").to_string_lossy();
            if !file.starts_with("seed-") {
                continue;
            }
            let data = fs::read(&path).expect("it can be read");
            let forms = [ReadingForm::Open, ReadingForm::Sealed];
            assert!(
                forms.into_iter().any(|form| decodes(form, &data)),
                "{name} {file}: write the seeds again with tests/fuzz/seeds.py"
            );
        }
    }
}
