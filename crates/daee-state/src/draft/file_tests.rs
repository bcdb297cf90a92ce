use std::collections::BTreeMap;

use daee_types::ByteSize;
use proptest::prelude::*;

use super::*;
use crate::files::{FILES_MAX, FileError, FileKind, Node};

const NOW: u64 = 7;

fn state() -> State {
    State::new(ByteSize::kib(64))
}

fn after(state: &State, edit: impl FnOnce(&mut Draft<'_>)) -> State {
    let mut draft = Draft::new(state);
    edit(&mut draft);
    let delta = Delta::decode(&draft.finish().encode()).unwrap();
    let mut state = state.clone();
    state.apply(delta);
    assert_eq!(State::decode(&state.encode()).as_ref(), Ok(&state));
    state
}

fn whole(draft: &Draft<'_>, path: &str) -> Result<Vec<u8>, FileError> {
    draft.read_file(0, path, 0, 1 << 20)
}

#[test]
fn what_was_written_is_read_in_the_turn_and_after_it() {
    let kept = after(&state(), |draft| {
        draft.make_directory(0, "a", NOW).unwrap();
        draft.write_file(0, "a/b", None, b"hello", NOW).unwrap();
        draft.write_file(0, "a/b", Some(4), b"p!", NOW).unwrap();
        assert_eq!(whole(draft, "a/b"), Ok(b"hellp!".to_vec()));
    });
    let draft = Draft::new(&kept);
    assert_eq!(whole(&draft, "a/./../a//b"), Ok(b"hellp!".to_vec()));
    assert_eq!(draft.read_file(0, "a/b", 4, 9), Ok(b"p!".to_vec()));
    assert_eq!(draft.read_file(0, "a/b", 100, 9), Ok(vec![]));
    let stat = draft.stat(0, "a/b").unwrap();
    assert_eq!((stat.kind, stat.size, stat.modified_nanos), (FileKind::File, 6, NOW));
    assert_eq!(whole(&draft, "a"), Err(FileError::IsDirectory));
}

#[test]
fn only_what_changed_of_a_large_file_is_in_a_delta() {
    let kept = after(&state(), |draft| {
        draft.write_file(0, "a", None, &[7; 50_000], NOW).unwrap();
    });
    let mut draft = Draft::new(&kept);
    draft.write_file(0, "a", Some(20_000), b"x", NOW).unwrap();
    draft.rename_file((0, "a"), (0, "b"), false, NOW).unwrap();
    assert!(draft.finish().encode().len() < 5000);
}

#[test]
fn what_was_cut_off_does_not_come_back() {
    for cut in [0, 1, 4095, 4096, 4097, 9000] {
        let kept =
            after(&state(), |draft| draft.write_file(0, "a", None, &[7; 9000], NOW).unwrap());
        let same_turn = after(&state(), |draft| {
            draft.write_file(0, "a", None, &[7; 9000], NOW).unwrap();
            draft.truncate_file(0, "a", cut, NOW).unwrap();
            draft.truncate_file(0, "a", 10_000, NOW).unwrap();
        });
        let later = after(&kept, |draft| {
            draft.truncate_file(0, "a", cut, NOW).unwrap();
            draft.truncate_file(0, "a", 10_000, NOW).unwrap();
        });
        let mut expected = vec![7; cut as usize];
        expected.resize(10_000, 0);
        for state in [&same_turn, &later] {
            assert_eq!(whole(&Draft::new(state), "a"), Ok(expected.clone()), "{cut}");
        }
        assert_eq!(same_turn.root(), later.root(), "{cut}");
    }
}

#[test]
fn a_path_does_not_leave_where_it_starts() {
    let kept = after(&state(), |draft| {
        draft.make_directory(0, "a", NOW).unwrap();
        draft.make_directory(0, "a/b", NOW).unwrap();
        draft.write_file(0, "f", None, b"x", NOW).unwrap();
    });
    let draft = Draft::new(&kept);
    let inner = draft.stat(0, "a").unwrap().number;
    let check = |at, path: &str, expected: Result<u64, FileError>| {
        assert_eq!(draft.stat(at, path).map(|stat| stat.number), expected, "{at} {path:?}");
    };
    check(0, "", Ok(0));
    check(0, "a/..", Ok(0));
    check(0, "a/b/../../a/", Ok(inner));
    check(inner, "b/..", Ok(inner));
    for path in ["..", "../f", "b/../..", "./../f", "..//..", "/f", "/"] {
        check(inner, path, Err(FileError::Outside));
    }
    check(0, "nothing/../f", Err(FileError::NotFound));
    check(0, "f/../f", Err(FileError::NotDirectory));
    check(0, "f/", Err(FileError::NotDirectory));
    check(0, "f/.", Err(FileError::NotDirectory));
    check(0, "f\0", Err(FileError::Path));
    check(0, &"n".repeat(256), Err(FileError::TooLong));
    check(0, &"./".repeat(2049), Err(FileError::TooLong));
    check(99, "f", Err(FileError::NotFound));
    check(99, "", Err(FileError::NotFound));
}

#[test]
fn what_is_in_the_way_is_named() {
    let kept = after(&state(), |draft| {
        draft.make_directory(0, "d", NOW).unwrap();
        draft.make_directory(0, "e", NOW).unwrap();
        draft.write_file(0, "d/f", None, b"x", NOW).unwrap();
        draft.write_file(0, "g", None, b"y", NOW).unwrap();
    });
    let check = |expected: Result<(), FileError>,
                 act: &dyn Fn(&mut Draft<'_>) -> Result<(), FileError>| {
        assert_eq!(act(&mut Draft::new(&kept)), expected);
    };
    use FileError::*;
    check(Err(Exists), &|d| d.make_directory(0, "d", NOW).map(|_| ()));
    check(Err(Exists), &|d| d.make_directory(0, "g", NOW).map(|_| ()));
    check(Err(NotDirectory), &|d| d.make_directory(0, "g/h", NOW).map(|_| ()));
    check(Err(NotFound), &|d| d.make_directory(0, "x/h", NOW).map(|_| ()));
    check(Err(Exists), &|d| d.create_file(0, "g", true, NOW).map(|_| ()));
    check(Ok(()), &|d| d.create_file(0, "g", false, NOW).map(|_| ()));
    check(Err(IsDirectory), &|d| d.create_file(0, "d", false, NOW).map(|_| ()));
    check(Err(IsDirectory), &|d| d.create_file(0, "new/", false, NOW).map(|_| ()));
    check(Err(IsDirectory), &|d| d.write_file(0, "d", Some(0), b"", NOW));
    check(Err(NotEmpty), &|d| d.remove_file(0, "d", None, false, NOW));
    check(Ok(()), &|d| d.remove_file(0, "e/", None, false, NOW));
    check(Err(IsDirectory), &|d| d.remove_file(0, "e", Some(FileKind::File), false, NOW));
    check(Err(NotDirectory), &|d| d.remove_file(0, "g", Some(FileKind::Directory), false, NOW));
    check(Err(NotFound), &|d| d.remove_file(0, "x", None, false, NOW));
    check(Err(Invalid), &|d| d.remove_file(0, "e/.", None, false, NOW));
    check(Err(IsDirectory), &|d| d.rename_file((0, "g"), (0, "e"), false, NOW));
    check(Err(NotDirectory), &|d| d.rename_file((0, "e"), (0, "g"), false, NOW));
    check(Err(NotDirectory), &|d| d.rename_file((0, "g"), (0, "h/"), false, NOW));
    check(Err(NotEmpty), &|d| d.rename_file((0, "e"), (0, "d"), false, NOW));
    check(Ok(()), &|d| d.rename_file((0, "d"), (0, "e"), false, NOW));
    check(Ok(()), &|d| d.rename_file((0, "d/f"), (0, "g"), false, NOW));
    check(Ok(()), &|d| d.rename_file((0, "d"), (0, "d"), false, NOW));
    check(Err(Invalid), &|d| d.rename_file((0, "d"), (0, "d/in"), false, NOW));
    check(Err(Invalid), &|d| d.rename_file((0, "."), (0, "x"), false, NOW));
    check(Err(NotFound), &|d| d.rename_file((0, "x"), (0, "g"), false, NOW));
    check(Err(NotFound), &|d| d.rename_file((0, "g"), (0, "x/g"), false, NOW));
    check(Err(TooLarge), &|d| d.write_file(0, "g", Some(u64::MAX), b"x", NOW));
    check(Err(TooLarge), &|d| d.truncate_file(0, "g", u64::MAX, NOW));
}

#[test]
fn keys_and_files_share_the_quota() {
    let state = State::new(ByteSize(100));
    let mut draft = Draft::new(&state);
    draft.set("k", vec![0; 49]).unwrap();
    draft.write_file(0, "f", None, &[0; 49], NOW).unwrap();
    let full = |wanted| Err(FileError::Quota { wanted, quota: 100 });
    assert_eq!(draft.write_file(0, "f", Some(49), b"x", NOW), full(101));
    assert_eq!(draft.truncate_file(0, "f", 1 << 40, NOW), full(51 + (1 << 40)));
    assert_eq!(draft.make_directory(0, "d", NOW).map(|_| ()), full(101));
    assert_eq!(draft.rename_file((0, "f"), (0, "ff"), false, NOW), full(101));
    assert!(draft.set("l", vec![]).is_err());
    draft.truncate_file(0, "f", 48, NOW).unwrap();
    draft.set("l", vec![]).unwrap();
    draft.remove_file(0, "f", None, false, NOW).unwrap();
    draft.set("l", vec![0; 49]).unwrap();
}

#[test]
fn files_and_directories_have_bounds() {
    let state = State::new(ByteSize::gib(1));
    let mut draft = Draft::new(&state);
    let mut at = 0;
    for _ in 0..DEPTH {
        at = draft.make_directory(at, "d", NOW).unwrap().number;
    }
    assert_eq!(draft.make_directory(at, "d", NOW), Err(FileError::TooDeep));
    draft.make_directory(0, "e", NOW).unwrap();
    draft.make_directory(0, "e/f", NOW).unwrap();
    assert_eq!(
        draft.rename_file((0, "e"), (at, "e"), false, NOW),
        Err(FileError::TooDeep),
        "nor deeper by another name"
    );
    for n in 0..FILES_MAX - DEPTH - 2 {
        draft.create_file(0, &n.to_string(), true, NOW).unwrap();
    }
    assert_eq!(draft.create_file(0, "more", true, NOW), Err(FileError::TooMany));
    draft.remove_file(0, "0", None, false, NOW).unwrap();
    draft.create_file(0, "more", true, NOW).unwrap();
}

const DEPTH: usize = crate::DEPTH_MAX;

#[test]
fn a_file_that_is_held_ends_with_its_turn() {
    let kept = after(&state(), |draft| draft.write_file(0, "a", None, b"one", NOW).unwrap());
    let before = kept.used();
    let later = after(&kept, |draft| {
        let number = draft.stat(0, "a").unwrap().number;
        draft.remove_file(0, "a", None, true, NOW).unwrap();
        draft.write_file(0, "b", None, b"two", NOW).unwrap();
        draft.write_file(number, "", Some(3), b"!", NOW).unwrap();
        assert_eq!(draft.read_file(number, "", 0, 9), Ok(b"one!".to_vec()));
        draft.rename_file((0, "b"), (0, "a"), true, NOW).unwrap();
        assert_eq!(draft.read_file(number, "", 0, 9), Ok(b"one!".to_vec()));
    });
    let number = Draft::new(&kept).stat(0, "a").unwrap().number;
    assert_eq!(Draft::new(&later).stat(number, ""), Err(FileError::NotFound));
    assert_eq!(whole(&Draft::new(&later), "a"), Ok(b"two".to_vec()));
    assert_eq!(later.used(), before);
}

#[test]
fn every_part_of_a_file_moves_the_root() {
    let base = after(&state(), |d| d.write_file(0, "a", None, b"1", NOW).unwrap());
    let change = |edit: &dyn Fn(&mut Draft<'_>)| after(&base, |draft| edit(draft)).root();
    let roots = [
        state().root(),
        base.root(),
        change(&|d| d.write_file(0, "a", None, b"2", NOW).unwrap()),
        change(&|d| d.write_file(0, "a", None, b"1", NOW + 1).unwrap()),
        change(&|d| d.truncate_file(0, "a", 2, NOW).unwrap()),
        change(&|d| d.rename_file((0, "a"), (0, "b"), false, NOW).unwrap()),
        change(&|d| d.write_file(0, "b", None, b"1", NOW).unwrap()),
        change(&|d| _ = d.make_directory(0, "b", NOW).unwrap()),
        change(&|d| _ = d.make_directory(0, "b", NOW + 1).unwrap()),
        change(&|d| {
            d.remove_file(0, "a", None, false, NOW).unwrap();
            d.write_file(0, "a", None, b"1", NOW).unwrap();
        }),
    ];
    for (i, one) in roots.iter().enumerate() {
        assert!(roots[i + 1..].iter().all(|other| other != one), "{i}");
    }
    let none = change(&|d| d.remove_file(0, "a", None, false, NOW).unwrap());
    assert_ne!(none, state().root(), "a number is not given again");
}

#[test]
fn files_that_are_no_tree_are_refused() {
    let state = after(&state(), |draft| {
        draft.make_directory(0, "d", NOW).unwrap();
        draft.write_file(0, "d/f", None, b"x", NOW).unwrap();
    });
    type Edit = fn(&mut BTreeMap<u64, Node>);
    fn names(nodes: &mut BTreeMap<u64, Node>, number: u64) -> &mut BTreeMap<String, u64> {
        match nodes.get_mut(&number) {
            Some(Node::Directory(directory)) => &mut directory.entries,
            _ => panic!("{number} is a directory"),
        }
    }
    let edits: [Edit; 9] = [
        |nodes| {
            let file = nodes.remove(&2).unwrap();
            nodes.insert(3, file);
            names(nodes, 1).insert("f".into(), 3);
        },
        |nodes| _ = names(nodes, 1).insert("up".into(), 0),
        |nodes| _ = names(nodes, 1).insert("self".into(), 1),
        |nodes| _ = names(nodes, 0).insert("again".into(), 2),
        |nodes| _ = names(nodes, 0).insert("nobody".into(), 9),
        |nodes| _ = names(nodes, 0).insert("..".into(), 2),
        |nodes| _ = names(nodes, 1).remove("f"),
        |nodes| _ = nodes.remove(&0),
        |nodes| _ = nodes.remove(&2),
    ];
    for (n, edit) in edits.iter().enumerate() {
        let mut bent = state.clone();
        edit(&mut bent.files.nodes);
        assert!(State::decode(&bent.encode()).is_err(), "{n}");
    }
}

/// What files ought to be: names with what is in them, or nothing for a directory.
type Model = BTreeMap<String, Option<Vec<u8>>>;

#[derive(Clone, Debug)]
enum Act {
    Write(String, Option<u64>, Vec<u8>),
    Truncate(String, u64),
    Mkdir(String),
    Remove(String),
    Rename(String, String),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let path = "[ab](/[ab]){0,2}";
    let bytes = (0usize..9000, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]);
    proptest::collection::vec(
        prop_oneof![
            (path, proptest::option::of(0u64..9000), bytes)
                .prop_map(|(path, at, bytes)| Act::Write(path, at, bytes)),
            (path, 0u64..9000).prop_map(|(path, size)| Act::Truncate(path, size)),
            path.prop_map(Act::Mkdir),
            path.prop_map(Act::Remove),
            (path, path).prop_map(|(from, to)| Act::Rename(from, to)),
        ],
        0..30,
    )
}

fn act(draft: &mut Draft<'_>, act: &Act) -> bool {
    match act {
        Act::Write(path, at, bytes) => draft.write_file(0, path, *at, bytes, NOW).is_ok(),
        Act::Truncate(path, size) => draft.truncate_file(0, path, *size, NOW).is_ok(),
        Act::Mkdir(path) => draft.make_directory(0, path, NOW).is_ok(),
        Act::Remove(path) => draft.remove_file(0, path, None, false, NOW).is_ok(),
        Act::Rename(from, to) => draft.rename_file((0, from), (0, to), false, NOW).is_ok(),
    }
}

/// The same, on the model; says whether it could be done.
fn model(files: &mut Model, act: &Act) -> bool {
    let parent = |files: &Model, path: &str| match path.rsplit_once('/') {
        None => true,
        Some((parent, _)) => files.get(parent).is_some_and(Option::is_none),
    };
    let used: usize = files.values().flatten().map(Vec::len).sum::<usize>()
        + files.keys().map(name).sum::<usize>();
    let room = |more: usize| used + more <= 64 << 10;
    let empty =
        |files: &Model, path: &str| !files.keys().any(|key| key.starts_with(&format!("{path}/")));
    match act {
        Act::Write(path, at, bytes) => {
            let before = match files.get(path) {
                Some(None) => return false,
                Some(Some(before)) => before.clone(),
                None => Vec::new(),
            };
            let new = !files.contains_key(path);
            let mut after = before.clone();
            match at {
                None => after = bytes.clone(),
                Some(_) if bytes.is_empty() => {}
                Some(at) => {
                    let end = *at as usize + bytes.len();
                    after.resize(after.len().max(end), 0);
                    after[*at as usize..end].copy_from_slice(bytes);
                }
            }
            let grown =
                (after.len() + if new { name(path) } else { 0 }) as i64 - before.len() as i64;
            if !parent(files, path) || grown > 0 && !room(grown as usize) {
                return false;
            }
            files.insert(path.clone(), Some(after));
        }
        Act::Truncate(path, size) => match files.get_mut(path) {
            Some(Some(bytes)) => {
                let grown = (*size as usize).saturating_sub(bytes.len());
                if grown > 0 && !room(grown) {
                    return false;
                }
                bytes.resize(*size as usize, 0);
            }
            _ => return false,
        },
        Act::Mkdir(path) => {
            if files.contains_key(path) || !parent(files, path) || !room(name(path)) {
                return false;
            }
            files.insert(path.clone(), None);
        }
        Act::Remove(path) => {
            if !files.contains_key(path) || !empty(files, path) {
                return false;
            }
            files.remove(path);
        }
        Act::Rename(from, to) => {
            let Some(moved) = files.get(from).cloned() else { return false };
            if !parent(files, to) {
                return false;
            }
            if from == to {
                return true;
            }
            let fits = match (&moved, files.get(to)) {
                (None, Some(None)) => empty(files, to),
                (None, None) | (Some(_), None | Some(Some(_))) => true,
                (None, Some(Some(_))) | (Some(_), Some(None)) => false,
            };
            if !fits || to.starts_with(&format!("{from}/")) {
                return false;
            }
            let moving: Vec<_> = files
                .keys()
                .filter(|key| *key == from || key.starts_with(&format!("{from}/")))
                .cloned()
                .collect();
            for key in moving {
                let what = files.remove(&key).unwrap();
                files.insert(format!("{to}{}", &key[from.len()..]), what);
            }
        }
    }
    true
}

fn name(path: impl AsRef<str>) -> usize {
    path.as_ref().rsplit('/').next().unwrap().len()
}

fn seen(draft: &Draft<'_>) -> Model {
    let mut found = Model::new();
    let mut left = vec![(0, String::new())];
    while let Some((number, before)) = left.pop() {
        for (name, stat) in draft.list_files(number, "", None, usize::MAX).unwrap() {
            let path = format!("{before}{name}");
            let content = match stat.kind {
                FileKind::File => Some(whole(draft, &path).unwrap()),
                FileKind::Directory => {
                    left.push((stat.number, format!("{path}/")));
                    None
                }
            };
            assert!(stat.size >= content.as_ref().map_or(0, Vec::len) as u64);
            found.insert(path, content);
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn files_do_what_a_list_of_names_would(turns in proptest::collection::vec(acts(), 1..4)) {
        let mut state = state();
        let mut files = Model::new();
        for acts in turns {
            state = after(&state, |draft| {
                for one in &acts {
                    let done = act(draft, one);
                    assert_eq!(done, model(&mut files, one), "{one:?}");
                }
                assert_eq!(seen(draft), files);
            });
            prop_assert_eq!(&seen(&Draft::new(&state)), &files);
            let bytes: usize = files.values().flatten().map(Vec::len).sum();
            let names: usize = files.keys().map(name).sum();
            prop_assert_eq!(state.used().0, (bytes + names) as u64);
        }
    }

    #[test]
    fn hostile_bytes_are_an_error_or_files(flip in any::<prop::sample::Index>(), to in any::<u8>()) {
        let good = after(&state(), |draft| {
            draft.make_directory(0, "d", NOW).unwrap();
            draft.write_file(0, "d/f", None, b"x", NOW).unwrap();
            draft.write_file(0, "g", Some(5000), b"y", NOW).unwrap();
        });
        let mut bytes = good.encode();
        let at = flip.index(bytes.len());
        bytes[at] = to;
        if let Ok(state) = State::decode(&bytes) {
            prop_assert_eq!(&state.encode(), &bytes);
            state.root();
            seen(&Draft::new(&state));
        }
        let mut draft = Draft::new(&good);
        draft.rename_file((0, "d"), (0, "e"), false, NOW).unwrap();
        draft.truncate_file(0, "g", 1, NOW).unwrap();
        let mut bytes = draft.finish().encode();
        let at = flip.index(bytes.len());
        bytes[at] = to;
        if let Ok(delta) = Delta::decode(&bytes) {
            let mut state = good;
            state.apply(delta);
            state.root();
        }
    }
}
