use std::sync::LazyLock;

use daee_artifact::BLOCK_BYTES_MAX;
use daee_artifact::package::Writer;

use crate::car;

const BODY: &[u8] = b"{}";
const YAML: &[u8] = b"a: b\n";

/// A package of several blocks, put together as the input says: pairs of an action and a block.
pub fn run(input: &[u8]) -> bool {
    static PACKAGE: LazyLock<Vec<u8>> = LazyLock::new(package);
    let blocks = blocks(&PACKAGE);
    let mut car = Vec::new();
    for pair in input.chunks(2).take(9) {
        let [action, choice] = [pair[0], pair.get(1).copied().unwrap_or_default()];
        let block = blocks[usize::from(choice) % blocks.len()];
        match action % 6 {
            0 | 1 => car.extend(block),
            2 => {
                let at = car.len() + usize::from(action) * block.len() / 256;
                car.extend(block);
                car[at] ^= 1 << (choice % 8);
            }
            3 => car.extend(&block[..usize::from(action) * block.len() / 256]),
            4 => car.push(choice),
            // A block of no bytes, of those of nobody else, or under a CID that is its content.
            _ => car.extend(OTHERS[usize::from(choice) % OTHERS.len()]),
        }
    }
    let accepted = car::judge(&car, 65_521);
    assert!(accepted || car != *PACKAGE, "the package that was written is refused");
    accepted
}

pub fn seeds() -> Vec<Vec<u8>> {
    let whole: Vec<u8> = (0..7).flat_map(|block| [0, block]).collect();
    let swapped = [&whole[..4], &whole[6..8], &whole[4..6], &whole[8..]].concat();
    let bent = [&whole[..4], &[200, 2], &whole[6..], &[4, 7], &[5, 0]].concat();
    vec![whole.clone(), swapped, bent, whole[..10].to_vec()]
}

const OTHERS: [&[u8]; 3] = [
    // Empty, raw.
    b"\x24\x01\x55\x12\x20\xe3\xb0\xc4\x42\x98\xfc\x1c\x14\x9a\xfb\xf4\xc8\x99\x6f\xb9\x24\x27\xae\x41\xe4\x64\x9b\x93\x4c\xa4\x95\x99\x1b\x78\x52\xb8\x55",
    // Identity.
    b"\x06\x01\x55\x00\x01\x61\x61",
    // Longer than any block.
    b"\xff\xff\xff\xff\x0f",
];

/// Three leaves, of which the second is the first again.
fn package() -> Vec<u8> {
    let leaf = |byte: u8, len: usize| std::iter::repeat_n(byte, len);
    let leaves = [(1, BLOCK_BYTES_MAX), (1, BLOCK_BYTES_MAX), (2, 5)];
    let artifact: Vec<u8> = leaves.into_iter().flat_map(|(byte, len)| leaf(byte, len)).collect();
    let writer = Writer::new(car::layout(&artifact), BODY, YAML);
    let mut writer = writer.expect("small parts are a package");
    let mut out = Vec::new();
    writer.update(&artifact, |bytes| out.extend(bytes));
    writer.finish(|bytes| out.extend(bytes)).expect("the artifact has not changed");
    out
}

/// Its header, and each of its blocks behind its length.
fn blocks(package: &[u8]) -> Vec<&[u8]> {
    let (mut blocks, mut at) = (Vec::new(), 0);
    while let Some((len, start)) = car::varint(package, at) {
        blocks.push(&package[at..start + len]);
        at = start + len;
    }
    blocks
}
