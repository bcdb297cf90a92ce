use wasmparser::ValType;

/// The door (DESIGN 6): its two imports, with their types.
pub(super) const DOOR: [(&str, &str); 2] =
    [("call", "(i32, i32, i32, i32) -> i32"), ("read", "(i32, i32) -> i32")];

/// WASI preview 1, all of it, with the type of each function: what reaches out is there and refuses.
pub const WASI: [(&str, &str); 46] = [
    ("args_get", "(i32, i32) -> i32"),
    ("args_sizes_get", "(i32, i32) -> i32"),
    ("clock_res_get", "(i32, i32) -> i32"),
    ("clock_time_get", "(i32, i64, i32) -> i32"),
    ("environ_get", "(i32, i32) -> i32"),
    ("environ_sizes_get", "(i32, i32) -> i32"),
    ("fd_advise", "(i32, i64, i64, i32) -> i32"),
    ("fd_allocate", "(i32, i64, i64) -> i32"),
    ("fd_close", "(i32) -> i32"),
    ("fd_datasync", "(i32) -> i32"),
    ("fd_fdstat_get", "(i32, i32) -> i32"),
    ("fd_fdstat_set_flags", "(i32, i32) -> i32"),
    ("fd_fdstat_set_rights", "(i32, i64, i64) -> i32"),
    ("fd_filestat_get", "(i32, i32) -> i32"),
    ("fd_filestat_set_size", "(i32, i64) -> i32"),
    ("fd_filestat_set_times", "(i32, i64, i64, i32) -> i32"),
    ("fd_pread", "(i32, i32, i32, i64, i32) -> i32"),
    ("fd_prestat_dir_name", "(i32, i32, i32) -> i32"),
    ("fd_prestat_get", "(i32, i32) -> i32"),
    ("fd_pwrite", "(i32, i32, i32, i64, i32) -> i32"),
    ("fd_read", "(i32, i32, i32, i32) -> i32"),
    ("fd_readdir", "(i32, i32, i32, i64, i32) -> i32"),
    ("fd_renumber", "(i32, i32) -> i32"),
    ("fd_seek", "(i32, i64, i32, i32) -> i32"),
    ("fd_sync", "(i32) -> i32"),
    ("fd_tell", "(i32, i32) -> i32"),
    ("fd_write", "(i32, i32, i32, i32) -> i32"),
    ("path_create_directory", "(i32, i32, i32) -> i32"),
    ("path_filestat_get", "(i32, i32, i32, i32, i32) -> i32"),
    ("path_filestat_set_times", "(i32, i32, i32, i32, i64, i64, i32) -> i32"),
    ("path_link", "(i32, i32, i32, i32, i32, i32, i32) -> i32"),
    ("path_open", "(i32, i32, i32, i32, i32, i64, i64, i32, i32) -> i32"),
    ("path_readlink", "(i32, i32, i32, i32, i32, i32) -> i32"),
    ("path_remove_directory", "(i32, i32, i32) -> i32"),
    ("path_rename", "(i32, i32, i32, i32, i32, i32) -> i32"),
    ("path_symlink", "(i32, i32, i32, i32, i32) -> i32"),
    ("path_unlink_file", "(i32, i32, i32) -> i32"),
    ("poll_oneoff", "(i32, i32, i32, i32) -> i32"),
    ("proc_exit", "(i32) -> ()"),
    ("proc_raise", "(i32) -> i32"),
    ("random_get", "(i32, i32) -> i32"),
    ("sched_yield", "() -> i32"),
    ("sock_accept", "(i32, i32, i32) -> i32"),
    ("sock_recv", "(i32, i32, i32, i32, i32, i32) -> i32"),
    ("sock_send", "(i32, i32, i32, i32, i32) -> i32"),
    ("sock_shutdown", "(i32, i32) -> i32"),
];

/// What a reactor is entered by.
pub(super) const TURN: &str = "() -> i32";
/// What a command and `_initialize` are entered by.
pub(super) const START: &str = "() -> ()";

/// The type of an offered import; nothing where it is not offered.
pub(super) fn import(module: &str, name: &str) -> Option<&'static str> {
    let offered: &[(&str, &'static str)] = match module {
        "daee" => &DOOR,
        "wasi_snapshot_preview1" => &WASI,
        _ => &[],
    };
    offered.iter().find(|(known, _)| *known == name).map(|(_, shape)| *shape)
}

/// A function type as people write it, `(i32, i32) -> i32`, if it is one that an offered import or an
/// entry has.
pub(super) fn shape(params: &[ValType], results: &[ValType]) -> Option<&'static str> {
    let list =
        |types: &[ValType]| types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if params.len() > 9 || results.len() > 1 {
        return None;
    }
    let shape = match results {
        [one] => format!("({}) -> {one}", list(params)),
        _ => format!("({}) -> ()", list(params)),
    };
    let known = DOOR.iter().chain(&WASI).map(|(_, known)| *known).chain([TURN, START]);
    known.into_iter().find(|known| *known == shape)
}
