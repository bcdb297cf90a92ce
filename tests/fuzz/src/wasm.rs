use daee_artifact::{ModuleReader, RunStyle, check_module};
use wasmparser::Validator;

const STYLES: [Option<RunStyle>; 4] =
    [None, Some(RunStyle::Reactor), Some(RunStyle::Resident), Some(RunStyle::PerEvent)];

pub fn run(input: &[u8]) -> bool {
    let mut accepted = false;
    for style in STYLES {
        let whole = check_module(input, style);
        let mut reader = ModuleReader::new();
        crate::pieces(input).for_each(|piece| reader.update(piece));
        assert_eq!(reader.finish(style), whole, "pieces are judged another way than the whole");
        match whole {
            Ok(facts) => {
                assert!(style.is_none_or(|style| facts.style == style), "{facts:?} for {style:?}");
                accepted = true;
            }
            Err(problems) => assert!(!problems.is_empty(), "refused without a reason"),
        }
    }
    if accepted && let Err(error) = Validator::new().validate_all(input) {
        panic!("accepted, and {error}");
    }
    accepted
}

pub fn seeds() -> Vec<Vec<u8>> {
    let modules = [
        r#"(module
            (import "daee" "call" (func (param i32 i32 i32 i32) (result i32)))
            (import "daee" "read" (func (param i32 i32) (result i32)))
            (memory (export "memory") 1) (data (i32.const 8) "event.next")
            (func (export "_initialize"))
            (func (export "daee_turn") (result i32) (i32.const 0)))"#,
        r#"(module
            (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
            (memory (export "memory") 1 2) (global (mut i64) (i64.const 1))
            (table 3 funcref) (elem (i32.const 0) 1)
            (func (export "_start") (loop (br_if 0 (i32.const 0)))))"#,
        r#"(module (import "env" "open" (func)) (func) (start 1))"#,
        "(component)",
    ];
    modules.map(|text| wat::parse_str(text).expect("it is WebAssembly text")).to_vec()
}
