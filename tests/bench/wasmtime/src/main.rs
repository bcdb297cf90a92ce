//! `daee-bench-wasmtime engine IMAGE BIG WORK SCRIPTS`: what wasmtime needs for the modules of `cargo xtask bench sandbox`, as one
//! object of numbers. It pools its instances and maps their first memory copy-on-write, as the guide of its
//! authors says for starting fast; with fuel where the name says so.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use wasmtime::{
    Caller, Config, Engine, InstancePre, Linker, Module, OptLevel, PoolingAllocationConfig, Store,
};

type Any<T> = Result<T, Box<dyn std::error::Error>>;

/// Instances alive at once where what they weigh is measured.
const IDLE: usize = 1000;
const STARTS: usize = 2001;
const CALLS: usize = 200_001;
const RUNS: usize = 7;
/// Bytes that the scripts printed, so that two engines can be seen to do the same.
static SAID: AtomicU64 = AtomicU64::new(0);

fn main() -> Any<()> {
    let files: Vec<_> = std::env::args_os().skip(1).collect();
    let [_, image, big, work, scripts] = &files[..] else {
        return Err("engine IMAGE BIG WORK SCRIPTS".into());
    };
    let mut out = serde_json::Map::new();
    let mut put = |name: &str, value: f64| {
        out.insert(name.to_owned(), value.into());
    };

    let engine = engine(false)?;
    let image = prepared(&engine, image)?;
    put("start us", median(STARTS, || start(&engine, &image)));
    let (mut store, instance) = alive(&engine, &image)?;
    let nothing = instance.get_typed_func::<(), i32>(&mut store, "nothing")?;
    let touch = instance.get_typed_func::<(), i32>(&mut store, "touch")?;
    let chatter = instance.get_typed_func::<(), i32>(&mut store, "chatter")?;
    put("call ns", each(CALLS, || drop(nothing.call(&mut store, ()))));
    put("touch ns", each(CALLS, || drop(touch.call(&mut store, ()))));
    put("host call ns", median(11, || drop(chatter.call(&mut store, ()))) / 1000.0);
    drop(store);

    let before = private_kib();
    let idle = (0..IDLE).map(|_| alive(&engine, &image)).collect::<Any<Vec<_>>>()?;
    put("idle KiB", (private_kib() - before) / IDLE as f64);
    drop(idle);

    let big = prepared(&engine, big)?;
    put("big start us", median(STARTS, || start(&engine, &big)));

    for (name, fuel) in [("", false), (", metered", true)] {
        let engine = self::engine(fuel)?;
        let work = prepared(&engine, work)?;
        for export in ["sha256", "fib", "loop"] {
            put(&format!("{export}{name} us"), run(&engine, &work, export, fuel)?);
        }
        let scripts = prepared(&engine, scripts)?;
        put(&format!("scripts{name} us"), run(&engine, &scripts, "_start", fuel)?);
    }
    put("scripts said bytes", SAID.load(Relaxed) as f64 / (2 * RUNS) as f64);
    println!("{}", serde_json::Value::Object(out));
    Ok(())
}

fn engine(fuel: bool) -> Any<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(IDLE as u32 + 16).total_memories(IDLE as u32 + 16);
    pool.total_tables(IDLE as u32 + 16).table_elements(100_000).max_memory_size(256 << 20);
    pool.linear_memory_keep_resident(0);
    let mut config = Config::new();
    config
        .allocation_strategy(pool)
        .memory_init_cow(true)
        .memory_guaranteed_dense_image_size(1 << 30);
    config.cranelift_opt_level(OptLevel::Speed).cranelift_nan_canonicalization(true);
    config.consume_fuel(fuel).wasm_backtrace_max_frames(None);
    Ok(Engine::new(&config)?)
}

fn prepared(engine: &Engine, file: &std::ffi::OsStr) -> Any<InstancePre<()>> {
    let module = Module::from_file(engine, file)?;
    let mut linker = Linker::new(engine);
    linker.func_wrap("daee", "call", |_: i32, _: i32, _: i32, _: i32| 0i32)?;
    wasi(&mut linker)?;
    Ok(linker.instantiate_pre(&module)?)
}

fn alive(engine: &Engine, module: &InstancePre<()>) -> Any<(Store<()>, wasmtime::Instance)> {
    let mut store = Store::new(engine, ());
    let instance = module.instantiate(&mut store)?;
    instance.get_typed_func::<(), i32>(&mut store, "touch")?.call(&mut store, ())?;
    Ok((store, instance))
}

/// Create, call once, drop.
fn start(engine: &Engine, module: &InstancePre<()>) {
    alive(engine, module).expect("it ran before");
}

/// The median of some runs, in microseconds.
fn run(engine: &Engine, module: &InstancePre<()>, export: &str, fuel: bool) -> Any<f64> {
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let mut store = Store::new(engine, ());
        if fuel {
            store.set_fuel(u64::MAX)?;
        }
        let instance = module.instantiate(&mut store)?;
        let function = instance.get_func(&mut store, export).ok_or("no such export")?;
        let mut result = vec![wasmtime::Val::I32(0); function.ty(&store).results().len()];
        let from = Instant::now();
        // A program that ends by `proc_exit` ends with an error.
        let _ = function.call(&mut store, &[], &mut result);
        times.push(from.elapsed());
    }
    times.sort();
    Ok(times[times.len() / 2].as_nanos() as f64 / 1000.0)
}

/// The median of some runs of the work, in microseconds.
fn median(runs: usize, mut work: impl FnMut()) -> f64 {
    work();
    let mut times: Vec<_> = (0..runs)
        .map(|_| {
            let from = Instant::now();
            work();
            from.elapsed()
        })
        .collect();
    times.sort();
    times[runs / 2].as_nanos() as f64 / 1000.0
}

/// What one of many takes, in nanoseconds: the median of batches, for the clock takes as long as a call.
fn each(runs: usize, mut work: impl FnMut()) -> f64 {
    const BATCH: usize = 1000;
    let batch = || (0..BATCH).for_each(|_| work());
    median(runs / BATCH, batch) * 1000.0 / BATCH as f64
}

/// What this process alone holds in memory.
fn private_kib() -> f64 {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").expect("the kernel says it");
    let lines = rollup.lines().filter(|line| line.starts_with("Private_"));
    lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok()).sum()
}

/// As much of WASI as a JavaScript engine asks for before it runs a script that it was given as an argument, with nothing
/// behind it. The bench of our own engine has the same.
fn wasi(linker: &mut Linker<()>) -> Any<()> {
    const MODULE: &str = "wasi_snapshot_preview1";
    const BADF: i32 = 8;
    let script = format!("{}\0", include_str!("../../script.js"));
    let args = ["qjs\0".to_owned(), "-e\0".to_owned(), script];
    let sizes = (args.len() as u32, args.iter().map(String::len).sum::<usize>() as u32);
    linker.func_wrap(
        MODULE,
        "args_sizes_get",
        move |mut guest: Caller<'_, ()>, count: u32, bytes: u32| {
            write(&mut guest, count, &sizes.0.to_le_bytes());
            write(&mut guest, bytes, &sizes.1.to_le_bytes());
            0
        },
    )?;
    linker.func_wrap(
        MODULE,
        "args_get",
        move |mut guest: Caller<'_, ()>, mut places: u32, mut at: u32| {
            for arg in &args {
                write(&mut guest, places, &at.to_le_bytes());
                write(&mut guest, at, arg.as_bytes());
                places += 4;
                at += arg.len() as u32;
            }
            0
        },
    )?;
    linker.func_wrap(
        MODULE,
        "environ_sizes_get",
        |mut guest: Caller<'_, ()>, count: u32, bytes: u32| {
            write(&mut guest, count, &[0; 4]);
            write(&mut guest, bytes, &[0; 4]);
            0
        },
    )?;
    linker.func_wrap(MODULE, "environ_get", |_: i32, _: i32| 0)?;
    linker.func_wrap(
        MODULE,
        "clock_time_get",
        |mut guest: Caller<'_, ()>, _: i32, _: i64, at: u32| {
            write(&mut guest, at, &[0; 8]);
            0
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_write",
        |mut guest: Caller<'_, ()>, _: i32, at: u32, count: u32, written: u32| {
            let mut sum = 0;
            for n in 0..count {
                let mut len = [0; 4];
                let memory = guest.get_export("memory").and_then(wasmtime::Extern::into_memory);
                let read =
                    memory.map(|memory| memory.read(&guest, (at + n * 8 + 4) as usize, &mut len));
                sum += if matches!(read, Some(Ok(()))) { u32::from_le_bytes(len) } else { 0 };
            }
            SAID.fetch_add(u64::from(sum), Relaxed);
            write(&mut guest, written, &sum.to_le_bytes());
            0
        },
    )?;
    linker.func_wrap(MODULE, "fd_fdstat_get", |mut guest: Caller<'_, ()>, _: i32, at: u32| {
        let mut stat = [0; 24];
        stat[0] = 2;
        stat[8] = 1 << 6;
        write(&mut guest, at, &stat);
        0
    })?;
    linker.func_wrap(MODULE, "proc_exit", |_: i32| -> wasmtime::Result<()> {
        Err(wasmtime::Error::msg("it ended"))
    })?;
    linker.func_wrap(MODULE, "fd_close", |_: i32| BADF)?;
    linker.func_wrap(MODULE, "fd_fdstat_set_flags", |_: i32, _: i32| BADF)?;
    linker.func_wrap(MODULE, "fd_prestat_get", |_: i32, _: i32| BADF)?;
    linker.func_wrap(MODULE, "fd_prestat_dir_name", |_: i32, _: i32, _: i32| BADF)?;
    linker.func_wrap(MODULE, "fd_read", |_: i32, _: i32, _: i32, _: i32| BADF)?;
    linker.func_wrap(MODULE, "fd_readdir", |_: i32, _: i32, _: i32, _: i64, _: i32| BADF)?;
    linker.func_wrap(MODULE, "fd_seek", |_: i32, _: i64, _: i32, _: i32| BADF)?;
    linker.func_wrap(MODULE, "path_create_directory", |_: i32, _: i32, _: i32| BADF)?;
    linker.func_wrap(MODULE, "path_filestat_get", |_: i32, _: i32, _: i32, _: i32, _: i32| BADF)?;
    linker.func_wrap(
        MODULE,
        "path_filestat_set_times",
        |_: i32, _: i32, _: i32, _: i32, _: i64, _: i64, _: i32| BADF,
    )?;
    linker.func_wrap(
        MODULE,
        "path_open",
        |_: i32, _: i32, _: i32, _: i32, _: i32, _: i64, _: i64, _: i32, _: i32| BADF,
    )?;
    linker.func_wrap(MODULE, "path_remove_directory", |_: i32, _: i32, _: i32| BADF)?;
    linker
        .func_wrap(MODULE, "path_rename", |_: i32, _: i32, _: i32, _: i32, _: i32, _: i32| BADF)?;
    linker.func_wrap(MODULE, "path_unlink_file", |_: i32, _: i32, _: i32| BADF)?;
    linker.func_wrap(MODULE, "poll_oneoff", |_: i32, _: i32, _: i32, _: i32| BADF)?;
    Ok(())
}

fn write(guest: &mut Caller<'_, ()>, at: u32, bytes: &[u8]) {
    let memory = guest.get_export("memory").and_then(wasmtime::Extern::into_memory);
    let written = memory.map(|memory| memory.write(guest, at as usize, bytes));
    assert!(matches!(written, Some(Ok(()))), "the modules are our own choice");
}
