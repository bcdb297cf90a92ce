use daee_types::Coded as _;

use super::{
    offered::{DOOR, WASI},
    *,
};

const REACTOR: &str = r#"(module
    (import "daee" "call" (func (param i32 i32 i32 i32) (result i32)))
    (import "daee" "read" (func (param i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "daee_turn") (result i32) (i32.const 0)))"#;
const COMMAND: &str = r#"(module
    (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
    (memory (export "memory") 1) (func (export "_start")))"#;

fn check(wat: &str, wanted: Option<RunStyle>, expected: Result<RunStyle, &[&str]>) {
    let bytes = wat::parse_str(wat).unwrap();
    let found = check_module(&bytes, wanted).map(|facts| facts.style);
    let codes = found.map_err(|all| all.iter().map(|p| p.code()).collect::<Vec<_>>());
    assert_eq!(codes, expected.map_err(<[_]>::to_vec), "{wat}");
}

#[test]
fn reactors_and_commands_pass() {
    check(REACTOR, None, Ok(RunStyle::Reactor));
    check(COMMAND, Some(RunStyle::Resident), Ok(RunStyle::Resident));
    check(COMMAND, Some(RunStyle::PerEvent), Ok(RunStyle::PerEvent));
}

#[test]
fn the_export_the_run_style_needs_is_named() {
    check(COMMAND, None, Err(&["DAEE-A026"]));
    check(REACTOR, Some(RunStyle::Resident), Err(&["DAEE-A026"]));
    check("(module (func (export \"daee_turn\")))", None, Err(&["DAEE-A026", "DAEE-A026"]));
}

#[test]
fn all_problems_are_named_at_once() {
    let wat = r#"(module
        (import "env" "open" (func))
        (import "wasi_snapshot_preview1" "sock_open" (func))
        (import "daee" "call" (func (param i64)))
        (import "wasi_snapshot_preview1" "clock_time_get" (func (param i32 i32 i32) (result i32)))
        (func $f) (start $f) (export "_initialize" (func 0)))"#;
    let codes = [
        "DAEE-A024", // env.open
        "DAEE-A024", // sock_open
        "DAEE-A025", // daee.call
        "DAEE-A025", // clock_time_get
        "DAEE-A027", // start
        "DAEE-A026", // daee_turn
        "DAEE-A026", // memory
    ];
    check(wat, None, Err(&codes));
}

#[test]
fn features_that_differ_between_machines_are_refused() {
    for wat in [
        "(module (memory 1 1 shared))",
        "(module (memory i64 1))",
        "(module (memory 1) (memory 1))",
        "(module (func (param v128 v128) (result v128)
            (i8x16.relaxed_swizzle (local.get 0) (local.get 1))))",
        "(module (tag))",
        "(module (func $f (return_call $f)))",
    ] {
        check(wat, None, Err(&["DAEE-A022"]));
    }
}

#[test]
fn what_is_no_core_module_is_told_apart() {
    let code = |bytes: &[u8]| check_module(bytes, None).unwrap_err()[0].code();
    assert_eq!(code(b""), "DAEE-A020");
    assert_eq!(code(b"#!/bin/sh\n"), "DAEE-A020");
    assert_eq!(code(&wat::parse_str("(component)").unwrap()), "DAEE-A021");
    assert_eq!(code(b"\0asm\x01\0\0\0\xff"), "DAEE-A022");
}

#[test]
fn everything_that_is_served_may_be_imported() {
    let served = |module: &str, all: &[(&str, &str)]| -> String {
        let types = |text: &str| text.trim_matches(['(', ')']).replace(',', "");
        let import = |(name, shape): &(&str, &str)| {
            let (params, results) = shape.split_once(" -> ").unwrap();
            let (params, results) = (types(params), types(results));
            format!("(import {module:?} {name:?} (func (param {params}) (result {results})))")
        };
        all.iter().map(import).collect()
    };
    let imports = served("daee", &DOOR) + &served("wasi_snapshot_preview1", &WASI);
    let wat =
        format!("(module {imports} (memory (export \"memory\") 1) (func (export \"_start\")))");
    check(&wat, Some(RunStyle::Resident), Ok(RunStyle::Resident));
}

#[test]
fn an_initialize_that_cannot_be_called_is_refused() {
    let with = |ty: &str| {
        REACTOR.replace(
            "(memory",
            &format!("(func (export \"_initialize\") {ty} unreachable) (memory"),
        )
    };
    check(&with(""), None, Ok(RunStyle::Reactor));
    check(&with("(param i32)"), None, Err(&["DAEE-A026"]));
}

#[test]
fn limits_are_published_numbers() {
    let over = Err(&["DAEE-A023", "DAEE-A026", "DAEE-A026"][..]);
    check("(module (table 100001 funcref))", None, over);
    check("(module (table 50001 funcref) (table 50000 funcref))", None, over);
    check(&format!("(module {})", "(global i32 (i32.const 0))".repeat(10_001)), None, over);
    let nops = "(func)".repeat(100_001);
    check(&format!("(module {nops})"), None, over);
}

#[test]
fn large_custom_sections_cost_no_memory_and_change_nothing() {
    let module = wat::parse_str(REACTOR).unwrap();
    let mut reader = ModuleReader::new();
    reader.update(&module);
    // Id 0, 2^28 + 2 bytes, a name of one letter.
    reader.update(&[0, 0x82, 0x80, 0x80, 0x80, 0x01, 1, b'f']);
    let block = vec![0xee; 1 << 20];
    (0..256).for_each(|_| reader.update(&block));
    assert_eq!(reader.finish(None).unwrap().style, RunStyle::Reactor);
}

proptest::proptest! {
    /// Bent modules are judged and not trusted: no panic, and one judgement however they come.
    #[test]
    fn bent_modules_are_judged_alike_in_pieces_and_whole(
        bends in proptest::collection::vec(
            (proptest::prelude::any::<proptest::sample::Index>(), proptest::prelude::any::<u8>()),
            0..4,
        ),
        custom in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40),
        piece in 1usize..50,
    ) {
        let mut bytes = wat::parse_str(REACTOR).unwrap();
        bytes.extend([0, custom.len() as u8]);
        bytes.extend(custom);
        for (at, to) in bends {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        let mut reader = ModuleReader::new();
        bytes.chunks(piece).for_each(|piece| reader.update(piece));
        let whole = check_module(&bytes, None);
        proptest::prop_assert_eq!(reader.finish(None), whole);
    }
}
