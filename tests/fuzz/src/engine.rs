use arbitrary::Unstructured;
use daee_runtime::fuzz::{
    self, COUNTS, DEPTH_MAX, End, HOST_CALL_FUEL, READ, REFUSED, Stand, metered,
};
use wasm_smith::{Config, Module};

use wasmi::{
    Caller, Extern, Instance, Linker, Store, StoreLimits, StoreLimitsBuilder, TrapCode, Val,
};
use wasmparser::{ExternalKind, FunctionBody, Operator, Parser, Payload, TypeRef};

/// What every module has: something to call, some of what it keeps, and a memory that may grow further than it
/// will be let.
const EXPORTS: &str = r#"(module
    (func (export "daee_turn") (result i32) unreachable)
    (func (export "other") (result i32) unreachable)
    (func (export "third"))
    (global (export "i32") (mut i32) (i32.const 0))
    (global (export "i64") (mut i64) (i64.const 0))
    (global (export "f32") (mut f32) (f32.const 0))
    (global (export "f64") (mut f64) (f64.const 0))
    (global (export "v128") (mut v128) (v128.const i64x2 0 0))
    (memory (export "memory") 1 8))"#;
const IMPORTS: &str = r#"(module
    (import "daee" "call" (func (param i32 i32 i32 i32) (result i32)))
    (import "daee" "read" (func (param i32 i32) (result i32))))"#;
const CALLS: [&str; 6] = ["daee_turn", "other", "daee_turn", "third", "other", "daee_turn"];
const GLOBALS: [&str; 5] = ["i32", "i64", "f32", "f64", "v128"];
const MEMORY_BYTES_MAX: u64 = 5 << 16;
const TABLE_ELEMENTS_MAX: u32 = 50;

/// A module out of the input, compiled and interpreted: both end each call alike and stand alike after it.
pub fn run(input: &[u8]) -> bool {
    let Some((module, fuel)) = module(input) else { return false };
    judge(&module, fuel)
}

/// Bytes to start from.
pub fn seeds() -> Vec<Vec<u8>> {
    (0..8).map(|seed| noise(seed, 4096)).collect()
}

/// So many bytes that look like chance and are not.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// The module, and the fuel of each call.
pub fn module(input: &[u8]) -> Option<(Vec<u8>, u64)> {
    let mut bytes = Unstructured::new(input);
    let kind: u8 = bytes.arbitrary().ok()?;
    let fuel = [100, 1_000, 20_000, 200_000][usize::from(kind & 3)];
    let text = |text| Some(wat::parse_str(text).expect("it is WebAssembly text"));
    let config = Config {
        exports: text(EXPORTS),
        available_imports: (kind & 4 == 0).then(|| text(IMPORTS)).flatten(),
        // Most modules trap at once otherwise.
        disallow_traps: kind & 24 != 0,
        allow_start_export: false,
        // Our compiler does this itself, wasmi does not. What wasm-smith leaves out is in `canonical`.
        canonicalize_nans: true,
        max_funcs: 12,
        max_instructions: 300,
        max_imports: 0,
        max_tables: 3,
        max_table_elements: 45,
        max_memories: 0,
        bulk_memory_enabled: true,
        reference_types_enabled: true,
        simd_enabled: true,
        multi_value_enabled: true,
        saturating_float_to_int_enabled: true,
        sign_extension_ops_enabled: true,
        compact_imports_enabled: false,
        custom_page_sizes_enabled: false,
        exceptions_enabled: false,
        extended_const_enabled: false,
        gc_enabled: false,
        memory64_enabled: false,
        relaxed_simd_enabled: false,
        tail_call_enabled: false,
        threads_enabled: false,
        wide_arithmetic_enabled: false,
        ..Config::default()
    };
    Some((Module::new(config, &mut bytes).ok()?.to_bytes(), fuel))
}

/// Whether it was loaded.
///
/// # Panics
/// When the two differ.
pub fn judge(module: &[u8], fuel: u64) -> bool {
    let ours = fuzz::calls(module, &CALLS, fuel, MEMORY_BYTES_MAX, TABLE_ELEMENTS_MAX);
    let theirs = interpreted(module, fuel);
    let (ours, theirs) = match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (Err(_), Err(_)) => return false,
        // What the engine does not have, and says so.
        (Err(ours), Ok(_)) if ours.contains("Unsupported feature") => return false,
        (ours, theirs) => panic!("one of two loads it: {:?}, {:?}", ours.err(), theirs.err()),
    };
    let places = places(module);
    for (at, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        let call = CALLS[at];
        assert_eq!(ours.end, theirs.end, "{call}, call {at}, ends in two ways");
        assert_eq!(ours.fuel, theirs.fuel, "{call}, call {at}, leaves two amounts of fuel");
        assert!(ours.memory == theirs.memory, "{call}, call {at}, leaves two memories");
        let globals: Vec<u8> =
            places.iter().flat_map(|at| ours.globals[at * 16..][..16].to_vec()).collect();
        assert_eq!(globals, theirs.globals, "{call}, call {at}, leaves two sets of globals");
    }
    assert_eq!(ours.len(), theirs.len(), "one of two goes on");
    true
}

/// Where each of [`GLOBALS`] stands among the module's mutable ones.
fn places(module: &[u8]) -> Vec<usize> {
    let (mut mutable, mut exported) = (Vec::new(), Vec::new());
    for payload in Parser::new(0).parse_all(module) {
        match payload.expect("it was loaded") {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import.expect("it was loaded");
                    assert!(!matches!(import.ty, TypeRef::Global(_)), "nothing imports globals");
                }
            }
            Payload::GlobalSection(globals) => {
                mutable.extend(globals.into_iter().map(|global| global.unwrap().ty.mutable));
            }
            Payload::ExportSection(exports) => {
                exported.extend(exports.into_iter().map(Result::unwrap));
            }
            _ => {}
        }
    }
    GLOBALS
        .iter()
        .map(|name| {
            let export = exported.iter().find(|export| export.name == *name);
            let export = export.expect("every module has it");
            assert_eq!(export.kind, ExternalKind::Global);
            mutable[..export.index as usize].iter().filter(|mutable| **mutable).count()
        })
        .collect()
}

/// What makes a NaN the one that our compiler makes.
const CANONICAL: &str = "(module
    (func (param f32) (result f32)
        (select (local.get 0) (f32.const nan) (f32.eq (local.get 0) (local.get 0))))
    (func (param f64) (result f64)
        (select (local.get 0) (f64.const nan) (f64.eq (local.get 0) (local.get 0))))
    (func (param v128) (result v128)
        (v128.bitselect (local.get 0) (v128.const f32x4 nan nan nan nan) (f32x4.eq (local.get 0) (local.get 0))))
    (func (param v128) (result v128)
        (v128.bitselect (local.get 0) (v128.const f64x2 nan nan) (f64x2.eq (local.get 0) (local.get 0)))))";
const TYPE: u8 = 1;
const FUNCTION: u8 = 3;
const CODE: u8 = 10;

/// The module with a canonical NaN behind every operator that makes a float longer or shorter: wasm-smith
/// leaves that to the engine. The functions for it come behind all others, so that no index changes.
fn canonical(module: &[u8]) -> Vec<u8> {
    let helpers = wat::parse_str(CANONICAL).expect("it is WebAssembly text");
    let helper = |id: u8| items(section(&helpers, id).expect("it has functions"));
    let imported =
        Parser::new(0).parse_all(module).filter_map(Result::ok).map(|payload| match payload {
            Payload::ImportSection(imports) => {
                let imports = imports.into_imports().filter_map(Result::ok);
                imports.filter(|import| matches!(import.ty, TypeRef::Func(_))).count()
            }
            _ => 0,
        });
    let imported = imported.sum::<usize>() as u64;
    let (types, _) = items(section(module, TYPE).expect("it has functions"));
    let (functions, _) = items(section(module, FUNCTION).expect("it has functions"));
    let mut bodies = Vec::new();
    let mut out = module[..8].to_vec();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.expect("it was metered");
        if let Payload::CodeSectionEntry(body) = &payload {
            let body = canonical_body(module, body, imported + functions);
            put(&mut bodies, body.len() as u64);
            bodies.extend(body);
        }
    }
    for payload in Parser::new(0).parse_all(module) {
        let Some((id, range)) = payload.expect("it was metered").as_section() else { continue };
        let content = &module[range.start as usize..range.end as usize];
        let content = match id {
            TYPE | FUNCTION | CODE => {
                let (count, rest) = items(content);
                let (more, added) = helper(id);
                let mut content = Vec::new();
                put(&mut content, count + more);
                content.extend(if id == CODE { &bodies } else { rest });
                match id {
                    // Types are named by number, and theirs come behind.
                    FUNCTION => {
                        added.iter().for_each(|ty| put(&mut content, types + u64::from(*ty)))
                    }
                    _ => content.extend(added),
                }
                content
            }
            _ => content.to_vec(),
        };
        out.push(id);
        put(&mut out, content.len() as u64);
        out.extend(content);
    }
    out
}

fn canonical_body(module: &[u8], body: &FunctionBody<'_>, helpers: u64) -> Vec<u8> {
    let range = body.range();
    let (mut out, mut from) = (Vec::new(), range.start as usize);
    let operators = body.get_operators_reader().expect("it was metered");
    let mut wanted = None;
    for found in operators.into_iter_with_offsets() {
        let (operator, at) = found.expect("it was metered");
        let at = at as usize;
        if let Some(helper) = wanted.take() {
            out.extend(&module[from..at]);
            out.push(0x10); // call
            put(&mut out, helpers + helper);
            from = at;
        }
        wanted = match operator {
            Operator::F32DemoteF64 => Some(0),
            Operator::F64PromoteF32 => Some(1),
            Operator::F32x4DemoteF64x2Zero => Some(2),
            Operator::F64x2PromoteLowF32x4 => Some(3),
            _ => None,
        };
    }
    out.extend(&module[from..range.end as usize]);
    out
}

fn section(module: &[u8], wanted: u8) -> Option<&[u8]> {
    let mut sections =
        Parser::new(0).parse_all(module).filter_map(|payload| payload.ok()?.as_section());
    let (_, range) = sections.find(|(id, _)| *id == wanted)?;
    Some(&module[range.start as usize..range.end as usize])
}

/// How many items a section has, and the rest of it.
fn items(section: &[u8]) -> (u64, &[u8]) {
    let (mut count, mut at) = (0, 0);
    loop {
        let byte = section[at];
        count |= u64::from(byte & 0x7f) << (7 * at);
        at += 1;
        if byte & 0x80 == 0 {
            return (count, &section[at..]);
        }
    }
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Why the host of the interpreter does not go on.
#[derive(Debug)]
struct OutOfFuel;

impl std::fmt::Display for OutOfFuel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the fuel is used up")
    }
}

impl wasmi::errors::HostError for OutOfFuel {}

fn interpreted(module: &[u8], fuel: u64) -> Result<Vec<Stand>, String> {
    let metered = canonical(&metered(module)?);
    let mut config = wasmi::Config::default();
    // As deep as ours, so that it is always the module's own count that ends it.
    config.set_max_recursion_depth(DEPTH_MAX as usize + 1_000);
    config.set_max_stack_height(256 << 20);
    let engine = wasmi::Engine::new(&config);
    let module = wasmi::Module::new(&engine, &metered).map_err(|error| error.to_string())?;
    let limits = StoreLimitsBuilder::new()
        .memory_size(MEMORY_BYTES_MAX as usize)
        .table_elements(TABLE_ELEMENTS_MAX as usize)
        .build();
    let mut store = Store::new(&engine, limits);
    store.limiter(|limits| limits);
    let mut linker = Linker::<StoreLimits>::new(&engine);
    let defined = linker
        .func_wrap("daee", "call", call)
        .and_then(|linker| linker.func_wrap("daee", "read", read));
    defined.map_err(|error| error.to_string())?;
    let instance = linker.instantiate_and_start(&mut store, &module);
    let instance = instance.map_err(|error| error.to_string())?;
    let mut stands = Vec::new();
    for call in CALLS {
        set(&mut store, &instance, COUNTS[0], Val::I64(fuel.cast_signed()));
        set(&mut store, &instance, COUNTS[2], Val::I32(0));
        let function = instance.get_func(&store, call).expect("every module has it");
        let mut results = vec![Val::I32(0); function.ty(&store).results().len()];
        let ended = function.call(&mut store, &[], &mut results);
        let code = ended.as_ref().err().and_then(wasmi::Error::as_trap_code);
        let end = match ended {
            Ok(()) => End::Returned(results.first().and_then(Val::i32).unwrap_or_default()),
            Err(error) => end(&store, &instance, &error),
        };
        let over = !matches!(end, End::Returned(_));
        let left = match code {
            None | Some(TrapCode::UnreachableCodeReached) => count64(&store, &instance).max(0),
            // Such a trap is charged for all that was left.
            Some(_) => 0,
        };
        let memory = instance.get_memory(&store, "memory").expect("every module has it");
        let globals = GLOBALS.map(|name| bytes(get(&store, &instance, name)));
        stands.push(Stand {
            end,
            fuel: left.cast_unsigned(),
            memory: memory.data(&store).to_vec(),
            globals: globals.concat(),
        });
        if over {
            break;
        }
    }
    Ok(stands)
}

/// As the engine tells ends apart.
fn end(store: &Store<StoreLimits>, instance: &Instance, error: &wasmi::Error) -> End {
    let count = |at: usize| get(store, instance, COUNTS[at]).i32().expect("it is an i32");
    if error.downcast_ref::<OutOfFuel>().is_some() || count64(store, instance) < 0 {
        return End::Fuel;
    }
    let depth = count(1);
    if depth > DEPTH_MAX {
        return End::Stack;
    }
    let what = match error.as_trap_code() {
        Some(TrapCode::UnreachableCodeReached) => "unreachable",
        Some(TrapCode::MemoryOutOfBounds) if depth > DEPTH_MAX / 20 => return End::Stack,
        Some(TrapCode::MemoryOutOfBounds) => "out of bounds memory access",
        Some(TrapCode::TableOutOfBounds) => "undefined element: out of bounds table access",
        Some(TrapCode::IndirectCallToNull) => "uninitialized element",
        Some(TrapCode::IntegerDivisionByZero) => "integer divide by zero",
        Some(TrapCode::IntegerOverflow) => "integer overflow",
        Some(TrapCode::BadConversionToInteger) => "invalid conversion to integer",
        Some(TrapCode::BadSignature) => "indirect call type mismatch",
        _ => panic!("wasmi ends of {error}"),
    };
    match count(2) {
        refused if refused == REFUSED[0] => End::Memory,
        refused if refused == REFUSED[1] => End::Table,
        _ => End::Trap(what.into()),
    }
}

fn get(store: &Store<StoreLimits>, instance: &Instance, name: &str) -> Val {
    instance.get_global(store, name).expect("it is exported").get(store)
}

fn set(store: &mut Store<StoreLimits>, instance: &Instance, name: &str, value: Val) {
    let global = instance.get_global(&*store, name).expect("it is exported");
    global.set(store, value).expect("it is a mutable number");
}

fn count64(store: &Store<StoreLimits>, instance: &Instance) -> i64 {
    get(store, instance, COUNTS[0]).i64().expect("fuel is an i64")
}

fn bytes(value: Val) -> Vec<u8> {
    let mut bytes = match value {
        Val::I32(value) => value.to_le_bytes().to_vec(),
        Val::I64(value) => value.to_le_bytes().to_vec(),
        Val::F32(value) => value.to_bits().to_le_bytes().to_vec(),
        Val::F64(value) => value.to_bits().to_le_bytes().to_vec(),
        Val::V128(value) => value.as_u128().to_le_bytes().to_vec(),
        other => panic!("a global is {other:?}"),
    };
    bytes.resize(16, 0);
    bytes
}

/// Takes what a call of the host costs.
fn pay(caller: &mut Caller<'_, StoreLimits>) -> Result<(), wasmi::Error> {
    let Some(Extern::Global(fuel)) = caller.get_export(COUNTS[0]) else { panic!("it is shown") };
    let left = fuel.get(&*caller).i64().expect("fuel is an i64") - HOST_CALL_FUEL as i64;
    fuel.set(&mut *caller, Val::I64(left)).expect("it is mutable");
    if left < 0 { Err(wasmi::Error::host(OutOfFuel)) } else { Ok(()) }
}

fn call(
    mut caller: Caller<'_, StoreLimits>,
    _: i32,
    _: i32,
    at: i32,
    len: i32,
) -> Result<i32, wasmi::Error> {
    pay(&mut caller)?;
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else { panic!("it is there") };
    let bytes = memory.data(&caller).get(at as u32 as usize..);
    Ok(fuzz::answer(bytes.and_then(|bytes| bytes.get(..len as u32 as usize))))
}

fn read(mut caller: Caller<'_, StoreLimits>, at: i32, cap: i32) -> Result<i32, wasmi::Error> {
    pay(&mut caller)?;
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else { panic!("it is there") };
    let some = READ.len().min(cap as u32 as usize);
    let place = memory.data_mut(&mut caller).get_mut(at as u32 as usize..);
    let place = place.and_then(|place| place.get_mut(..some));
    Ok(place.map_or(-3, |place| {
        place.copy_from_slice(&READ[..some]);
        some as i32
    }))
}
