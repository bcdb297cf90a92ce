//! The data that a module begins with, apart from its code: an instance that goes on from kept memory needs
//! none of it, and a new one has it copied at once.

use daee_types::wire::{Reader, WireError, Writer};
use wasm_encoder::{Encode as _, RawSection, SectionId};
use wasmparser::{BinaryReaderError, DataKind, Operator, Parser, Payload};

/// Where bytes go in a new memory.
pub(super) type Segments = Vec<(u32, Vec<u8>)>;

const DATA: u8 = SectionId::Data as u8;
const DATA_COUNT: u8 = SectionId::DataCount as u8;

/// What stands behind the segments begins at a multiple of this, as the engine's reader wants it.
const ALIGNMENT: usize = 64;

/// Takes the segments out of a valid module that lie at fixed places inside of its memory; none if
/// one of them does not, for then it is the engine that says so. Of a module that uses segments while it runs the
/// places in their list stay what they are.
pub(super) fn split(module: &[u8]) -> Option<(Vec<u8>, Segments)> {
    let had = read(module).ok()?;
    let mut taken = Segments::new();
    let mut rest = Vec::new();
    had.segments.len().encode(&mut rest);
    for segment in had.segments {
        let passive = match segment {
            Segment::At(at, bytes) => {
                if at as u64 + bytes.len() as u64 > had.memory_bytes {
                    return None;
                }
                taken.push((at, bytes.to_vec()));
                // What it is from its use on.
                &[]
            }
            Segment::Passive(bytes) => bytes,
            Segment::Elsewhere => return None,
        };
        rest.push(1);
        passive.encode(&mut rest);
    }
    let mut out = wasm_encoder::Module::new();
    for section in Parser::new(0).parse_all(module) {
        let Some((id, range)) = section.ok()?.as_section() else { continue };
        let own = &module[range.start as usize..range.end as usize];
        let data = match id {
            DATA | DATA_COUNT if !had.used => continue,
            DATA => &rest,
            _ => own,
        };
        out.section(&RawSection { id, data });
    }
    Some((out.finish(), taken))
}

enum Segment<'a> {
    At(u32, &'a [u8]),
    Passive(&'a [u8]),
    Elsewhere,
}

#[derive(Default)]
struct Had<'a> {
    /// The size of the memory at its start.
    memory_bytes: u64,
    segments: Vec<Segment<'a>>,
    /// Whether an operator names one.
    used: bool,
}

fn read(module: &[u8]) -> Result<Had<'_>, BinaryReaderError> {
    let mut had = Had::default();
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::MemorySection(memories) => {
                for memory in memories {
                    had.memory_bytes = memory?.initial << 16;
                }
            }
            Payload::CodeSectionEntry(body) if !had.used => {
                for operator in body.get_operators_reader()? {
                    had.used |= matches!(
                        operator?,
                        Operator::MemoryInit { .. } | Operator::DataDrop { .. }
                    );
                }
            }
            Payload::DataSection(data) => {
                for segment in data {
                    let segment = segment?;
                    had.segments.push(match segment.kind {
                        DataKind::Passive => Segment::Passive(segment.data),
                        DataKind::Active { offset_expr, .. } => {
                            match offset_expr.get_operators_reader().read()? {
                                Operator::I32Const { value } => {
                                    Segment::At(value.cast_unsigned(), segment.data)
                                }
                                _ => Segment::Elsewhere,
                            }
                        }
                    });
                }
            }
            _ => {}
        }
    }
    Ok(had)
}

/// Puts segments before code.
pub(super) fn join(segments: &Segments, code: &[u8]) -> Vec<u8> {
    let mut out = Writer::new();
    out.u32(segments.len() as u32);
    for (at, bytes) in segments {
        out.u32(*at).bytes(bytes);
    }
    let segments = out.finish();
    let ahead = (8 + segments.len()).next_multiple_of(ALIGNMENT);
    let mut out = Vec::with_capacity(ahead + code.len());
    out.extend((ahead as u64).to_le_bytes());
    out.extend(segments);
    out.resize(ahead, 0);
    out.extend(code);
    out
}

/// Takes them apart again.
pub(super) fn part(joined: &[u8]) -> Result<(Segments, &[u8]), WireError> {
    let mut from = Reader::new(joined);
    let ahead = from.u64()?;
    let mut segments = Segments::new();
    for _ in 0..from.count(8)? {
        segments.push((from.u32()?, from.bytes()?.to_vec()));
    }
    let code = usize::try_from(ahead).ok().and_then(|ahead| joined.get(ahead..));
    Ok((segments, code.ok_or_else(|| from.wrong("there is no code"))?))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{born, load};
    use super::*;

    fn check(wat: &str, segments: Option<&[(u32, &[u8])]>) {
        let found = split(&wat::parse_str(wat).unwrap());
        let found = found.map(|(module, segments)| {
            wasmparser::validate(&module).unwrap();
            segments
        });
        let segments = segments
            .map(|all| all.iter().map(|(at, bytes)| (*at, bytes.to_vec())).collect::<Segments>());
        assert_eq!(found, segments, "{wat}");
    }

    #[test]
    fn only_what_lies_where_it_is_said_to_is_taken() {
        check("(module)", Some(&[]));
        check(
            r#"(module (memory 1) (data (i32.const 65535) "a") (data "b") (data (i32.const 0) "cd"))"#,
            Some(&[(65535, b"a"), (0, b"cd")]),
        );
        check(
            r#"(module (memory 1) (data (i32.const 0) "a") (data "b") (func (data.drop 1)))"#,
            Some(&[(0, b"a")]),
        );
        check(r#"(module (memory 1) (data (i32.const 65535) "ab"))"#, None);
        check(r#"(module (memory 1) (data (i32.const -1) "a"))"#, None);
        check(r#"(module (memory 0) (data (i32.const 0) "a"))"#, None);
        check(
            r#"(module (import "a" "b" (global i32)) (memory 1) (data (global.get 0) "a"))"#,
            None,
        );
    }

    #[test]
    fn a_new_memory_holds_the_data_and_segments_are_what_they_were() {
        let code = load(
            r#"(module (memory 1)
                (data (i32.const 8) "first") (data $p "later") (data (i32.const 10) "over")
                (func (export "passive") (result i32)
                    (memory.init $p (i32.const 0) (i32.const 0) (i32.const 5)) (i32.const 0))
                (func (export "used") (result i32)
                    (memory.init 0 (i32.const 0) (i32.const 0) (i32.const 1)) (i32.const 0)))"#,
        );
        let mut instance = born(&*code, None);
        assert_eq!(&instance.memory()[..16], b"\0\0\0\0\0\0\0\0fiover\0\0");
        assert_eq!(instance.call("passive").unwrap(), 0);
        assert_eq!(&instance.memory()[..5], b"later");
        assert!(instance.call("used").is_err(), "a segment that was written is used up");
    }

    #[test]
    fn segments_and_code_come_apart_as_they_were() {
        let segments = vec![(7, b"abc".to_vec()), (0, vec![])];
        let joined = join(&segments, b"code");
        assert_eq!(part(&joined).unwrap(), (segments, &b"code"[..]));
        for end in 0..joined.len() - 4 {
            assert!(part(&joined[..end]).is_err(), "{end}");
        }
    }
}
