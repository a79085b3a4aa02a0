//! Runs every input of `corpus/`, seeds and past findings, through its target without libFuzzer.

use std::fs;

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
