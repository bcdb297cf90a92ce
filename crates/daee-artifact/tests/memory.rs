//! What judging costs in memory, whoever wrote what is judged. One test, for the allocator counts for all
//! threads of the process.

use daee_artifact::{
    FileHasher, ModuleReader,
    package::{self, ArtifactReader, Reader, Writer},
};
use daee_types::Coded as _;
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const MIB: usize = 1 << 20;

/// A module that comes as it is made: nobody holds it whole.
type Stream = Box<dyn Fn(&mut dyn FnMut(&[u8]))>;

#[test]
fn judging_takes_a_bounded_amount_of_memory() {
    modules();
    packages();
}

fn modules() {
    let function = |body: Vec<u8>| part(&[&[0][..], &body, &[0x0b]].concat());
    // One function with 128 results, and one that calls it until the stack is full.
    let results = [&[0x60, 0][..], &leb(128), &[0x7f; 128]].concat();
    let callee = function([0x41, 0].repeat(128));
    let calls = function([0x10, 0].repeat(MIB / 2 - 100));
    let blocks = function([0x02, 0x40].repeat(MIB / 2 - 100));
    let values = function([0x41, 0].repeat(MIB / 2 - 100));
    let full = [
        (1, [vec![2], results, vec![0x60, 0, 0]].concat()),
        (3, vec![2, 0, 1]),
        (10, [vec![2], callee, calls].concat()),
    ];
    let bombs: Vec<(&str, Stream, Option<&str>)> = vec![
        ("a GiB of a custom section", custom(1 << 30), None),
        ("as many types as there may be", sections(&[(1, types(10_000, 128))]), None),
        ("more types than there may be", sections(&[(1, types(120_000, 128))]), Some("DAEE-A023")),
        ("a group of a million types", sections(&[(1, group(1_000_000))]), Some("DAEE-A022")),
        ("a section of 4 GiB", promised(u32::MAX, 1 << 30), Some("DAEE-A023")),
        ("a section of 4 GiB that ends early", promised(u32::MAX, 100), Some("DAEE-A022")),
        ("names of exports", sections(&[(7, exports(500, 60_000))]), Some("DAEE-A023")),
        ("data", sections(&[(5, vec![1, 0, 1]), (11, data(31 * MIB))]), None),
        ("a constant", sections(&[(6, constant(31 * MIB))]), Some("DAEE-A023")),
        ("functions of blocks", code(31, &blocks), Some("DAEE-A023")),
        ("functions of values", code(31, &values), Some("DAEE-A023")),
        ("calls with many results", sections(&full), Some("DAEE-A023")),
        ("a function of 2 MiB", code(1, &function(vec![1; 2 * MIB])), Some("DAEE-A023")),
        ("many small functions", code(100_000, &function(vec![1; 200])), None),
        ("custom sections", many_custom(4097), Some("DAEE-A023")),
        ("long names of custom sections", long_names(400), Some("DAEE-A023")),
        ("what is no module", Box::new(|sink| noise(1 << 30, sink)), Some("DAEE-A020")),
    ];
    for (name, stream, code) in bombs {
        // The rest of the 64 MiB a verdict may take is for a package's reader and the pieces in flight.
        check(name, 48 * MIB, || {
            let mut reader = ModuleReader::new();
            stream(&mut |piece| reader.update(piece));
            let problems = reader.finish(None).unwrap_err();
            let codes: Vec<_> = problems.iter().map(|problem| problem.code()).collect();
            match code {
                Some(code) => assert!(codes.contains(&code), "{name}: {problems:?}"),
                None => assert!(codes.iter().all(|c| *c == "DAEE-A026"), "{name}: {problems:?}"),
            }
        });
    }
}

/// Packages of 100 MiB, which a debug build hashes in a moment: one leaf is kept, whatever the size.
fn packages() {
    const LEAVES: usize = 100;
    let leaf = |n: usize| vec![n as u8; MIB];
    let (mut layout, mut car) = (FileHasher::new(), Vec::new());
    (0..LEAVES).for_each(|n| layout.update(&leaf(n)));
    let layout = layout.finish().unwrap();
    check("writing", 4 * MIB, || {
        let mut writer = Writer::new(layout.clone(), b"{}", b"a: 1").unwrap();
        let mut bytes = 0;
        (0..LEAVES).for_each(|n| writer.update(&leaf(n), |piece| bytes += piece.len()));
        let size = writer.size();
        writer.finish(|piece| bytes += piece.len()).unwrap();
        assert_eq!(bytes as u64, size);
    });
    let mut writer = Writer::new(layout, b"{}", b"a: 1").unwrap();
    (0..LEAVES).for_each(|n| writer.update(&leaf(n), |piece| car.extend(piece)));
    writer.finish(|piece| car.extend(piece)).unwrap();
    check("reading", 3 * MIB, || {
        let (mut reader, mut bytes) = (Reader::new(), 0);
        car.chunks(70_000).for_each(|piece| reader.update(piece, |leaf| bytes += leaf.len()));
        assert_eq!(bytes, LEAVES * MIB);
        assert!(reader.finish().is_ok());
    });
    // The same file alone, of leaves that come twice, more of them than are kept.
    let twice: Vec<usize> = (0..LEAVES / 2).chain(0..LEAVES / 2).collect();
    let mut layout = FileHasher::new();
    twice.iter().for_each(|n| layout.update(&leaf(*n)));
    let layout = layout.finish().unwrap();
    let root = layout.root().unwrap();
    let mut alone = vec![0x3a, 0xa2, 0x65];
    alone.extend(b"roots\x81\xd8\x2a\x58\x25\0");
    alone.extend(layout.cid().to_bytes());
    alone.extend(b"\x67version\x01");
    alone.extend(leb(36 + root.len()));
    alone.extend(layout.cid().to_bytes());
    alone.extend(root);
    check("reading an artifact alone", 12 * MIB, || {
        let mut reader = ArtifactReader::new();
        reader.update(&alone, |_| {});
        for ((cid, bytes), n) in layout.leaves().zip(&twice) {
            reader.update(&[leb(36 + bytes), cid.to_bytes(), leaf(*n)].concat(), |_| {});
        }
        assert_eq!(reader.finish(), Ok((layout.cid(), (LEAVES * MIB) as u64)));
    });
    drop(car);
    // Blocks that nothing leads to, without end.
    let small = package::write(b"\0asm\x01\0\0\0", b"{}", b"a: 1").unwrap();
    let block = &small[small.len() - 41..];
    check("blocks that are too many", 2 * MIB, || {
        let mut reader = Reader::new();
        reader.update(&small, |_| {});
        let blocks = block.repeat(1000);
        (0..100).for_each(|_| reader.update(&blocks, |_| {}));
        assert_eq!(reader.finish().unwrap_err().len(), package::PROBLEMS_MAX);
    });
}

fn check(name: &str, bytes_max: usize, run: impl FnOnce()) {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    run();
    let peak = ALLOCATOR.peak_usage().saturating_sub(before);
    println!("{name}: {} KiB", peak >> 10);
    assert!(peak <= bytes_max, "{name} took {peak} bytes");
}

const HEADER: &[u8] = b"\0asm\x01\0\0\0";

fn sections(all: &[(u8, Vec<u8>)]) -> Stream {
    let all: Vec<_> =
        all.iter().map(|(id, body)| [&[*id][..], &leb(body.len()), body].concat()).collect();
    Box::new(move |sink| {
        sink(HEADER);
        all.iter().flat_map(|section| section.chunks(MIB)).for_each(&mut *sink);
    })
}

/// A module of so many functions with this body.
fn code(count: usize, body: &[u8]) -> Stream {
    let functions = [&leb(count)[..], &vec![0; count]].concat();
    let code = [leb(count), body.repeat(count)].concat();
    sections(&[(1, vec![1, 0x60, 0, 0]), (3, functions), (10, code)])
}

fn custom(bytes: usize) -> Stream {
    Box::new(move |sink| {
        sink(HEADER);
        sink(&[&[0][..], &leb(bytes + 2), &[1, b'f']].concat());
        noise(bytes, sink);
    })
}

fn promised(promised: u32, bytes: usize) -> Stream {
    Box::new(move |sink| {
        sink(HEADER);
        sink(&[&[11][..], &leb(promised as usize)].concat());
        noise(bytes, sink);
    })
}

fn many_custom(count: usize) -> Stream {
    Box::new(move |sink| {
        sink(HEADER);
        (0..count).for_each(|_| sink(&[0, 3, 1, b'f', 9]));
    })
}

fn long_names(count: usize) -> Stream {
    Box::new(move |sink| {
        sink(HEADER);
        let name = part(&vec![b'n'; 99_000]);
        let section = [&[0][..], &leb(name.len()), &name].concat();
        (0..count).for_each(|_| sink(&section));
    })
}

fn noise(bytes: usize, sink: &mut dyn FnMut(&[u8])) {
    let block = vec![0xee; MIB];
    for n in 0..bytes.div_ceil(MIB) {
        sink(&block[..MIB.min(bytes - n * MIB)]);
    }
}

/// All differ, so that each is kept.
fn types(count: usize, params: usize) -> Vec<u8> {
    let mut out = leb(count);
    for n in 0..count {
        let mut list = vec![0x7f; params];
        (0..params.min(24)).for_each(|bit| list[bit] -= (n >> bit & 1) as u8);
        out.push(0x60);
        (0..2).for_each(|_| out.extend(part(&list)));
    }
    out
}

fn group(count: usize) -> Vec<u8> {
    [vec![1, 0x4e], leb(count), [0x60, 0, 0].repeat(count)].concat()
}

fn exports(count: usize, name_bytes: usize) -> Vec<u8> {
    let mut out = leb(count);
    for n in 0..count {
        out.extend(part(format!("{n:0>name_bytes$}").as_bytes()));
        out.extend([0, 0]);
    }
    out
}

fn data(bytes: usize) -> Vec<u8> {
    [&[1, 0, 0x41, 0, 0x0b][..], &part(&vec![b'.'; bytes])].concat()
}

/// One global whose value takes so many bytes to say.
fn constant(bytes: usize) -> Vec<u8> {
    [&[1, 0x7f, 0][..], &[0x41, 0].repeat(bytes / 2), &[0x0b]].concat()
}

/// Bytes behind their length.
fn part(body: &[u8]) -> Vec<u8> {
    [leb(body.len()), body.to_vec()].concat()
}

fn leb(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}
