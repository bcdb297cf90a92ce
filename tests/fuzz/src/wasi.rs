use daee_artifact::{RunStyle, WASI};

use crate::lived::Guest;

/// Each function but the one that ends the program, and the types of its parameters.
fn functions() -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
    WASI.into_iter().filter(|(name, _)| *name != "proc_exit").map(|(name, shape)| {
        let parameters = shape[1..].split(')').next().unwrap_or_default();
        (name, parameters.split(", ").filter(|ty| !ty.is_empty()).collect())
    })
}

/// Of one call: the function, nothing, and nine arguments of 16 bits.
const CALL_BYTES: usize = 20;
/// What the guest has room for.
const BODY_BYTES_MAX: usize = 0x4000;

thread_local! {
    static GUEST: Guest = Guest::new(&guest(), RunStyle::PerEvent);
}

/// Two turns of calls, on a memory that begins with what is behind them.
pub fn run(input: &[u8]) -> bool {
    let input = &input[..input.len().min(2 * BODY_BYTES_MAX)];
    let (first, second) = input.split_at(input.len() / 2);
    GUEST.with(|guest| guest.lives(&[first, second]))
}

pub fn seeds() -> Vec<Vec<u8>> {
    let call = |name: &str, args: &[u16]| {
        let function = functions().position(|(known, _)| known == name);
        let mut call = vec![function.expect("there is such a function") as u8, 0];
        args.iter().for_each(|arg| call.extend(arg.to_le_bytes()));
        call.resize(CALL_BYTES, 0);
        call
    };
    // A name of two letters lies at 8, and 2 bytes to write are at 8 by the vector at 32.
    let calls = [
        call("path_create_directory", &[3, 8, 2]),
        call("path_open", &[3, 0, 8, 2, 1, 0xffff, 0xffff, 0, 0x100]),
        call("fd_write", &[5, 32, 1, 0x200]),
        call("fd_seek", &[5, 0, 0, 0x200]),
        call("fd_read", &[5, 32, 1, 0x200]),
        call("fd_readdir", &[3, 0x400, 0x100, 0, 0x200]),
        call("path_rename", &[3, 8, 2, 3, 9, 1]),
        call("path_unlink_file", &[3, 9, 1]),
        call("fd_close", &[5]),
        call("random_get", &[0x300, 16]),
        call("poll_oneoff", &[0x500, 0x600, 1, 0x200]),
        call("fd_write", &[1, 32, 1, 0x200]),
    ];
    let mut seeds: Vec<_> = calls.iter().map(|call| call.repeat(2)).collect();
    seeds.push(calls.concat().repeat(2));
    seeds
}

/// Reads its event and makes the calls in the body, each argument as wide as its function has it.
fn guest() -> String {
    let (mut imports, mut arms) = (String::new(), String::new());
    for (at, (name, parameters)) in functions().enumerate() {
        imports += &format!(
            "(import \"wasi_snapshot_preview1\" \"{name}\" (func ${name} (param {}) (result i32)))\n",
            parameters.join(" ")
        );
        let args: String = parameters
            .iter()
            .enumerate()
            .map(|(arg, ty)| format!("({ty}.load16_s offset={} (local.get $at))", 2 + 2 * arg))
            .collect();
        arms += &format!(
            "(if (i32.eq (local.get $n) (i32.const {at})) (then (drop (call ${name} {args}))))\n"
        );
    }
    format!(
        r#"(module {imports}
        (import "daee" "call" (func $call (param i32 i32 i32 i32) (result i32)))
        (import "daee" "read" (func $read (param i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 8) "ab")
        (data (i32.const 32) "\08\00\00\00\02\00\00\00")
        (data (i32.const 0x800) "event.next")
        (func (export "_start") (local $at i32) (local $end i32) (local $n i32)
            (drop (call $call (i32.const 0x800) (i32.const 10) (i32.const 0) (i32.const 0)))
            (local.set $end (i32.add (i32.const 0x1000) (call $read (i32.const 0x1000) (i32.const 0xe000))))
            (local.set $at (i32.add (i32.const 0x1004) (i32.load (i32.const 0x1000))))
            (block $done (loop $next
                (br_if $done (i32.gt_u (i32.add (local.get $at) (i32.const {CALL_BYTES})) (local.get $end)))
                (local.set $n (i32.rem_u (i32.load8_u (local.get $at)) (i32.const {})))
                {arms}
                (local.set $at (i32.add (local.get $at) (i32.const {CALL_BYTES})))
                (br $next)))))"#,
        functions().count()
    )
}
