//! scrypt (RFC 7914) over kept primitives. The kept crate of this generation keeps to the RFC's bound on n,
//! which its author called a mistake (errata 5971 to 5973): by it, n 262144 with r 1 cannot be, and that is what
//! the keystore definition's own vector and the wallets that followed it have.

use k256::{elliptic_curve::zeroize::Zeroizing, sha2::Sha256};
use pbkdf2::pbkdf2_hmac;
use salsa20::{
    SalsaCore,
    cipher::{StreamCipherCore as _, consts::U4},
};

/// Derives 32 bytes. `n` is a power of two above 1, `r` and `p` are above 0, and the caller has seen that
/// `128 * r * (n + p)` bytes are there.
pub(crate) fn scrypt(password: &[u8], salt: &[u8], [n, r, p]: [usize; 3]) -> Zeroizing<[u8; 32]> {
    let mut lanes = Zeroizing::new(vec![0; 128 * r * p]);
    pbkdf2_hmac::<Sha256>(password, salt, 1, &mut lanes);
    let mut table = Zeroizing::new(vec![0; 32 * r * n]);
    for lane in lanes.chunks_exact_mut(128 * r) {
        mix(lane, &mut table, n);
    }
    let mut derived = Zeroizing::new([0; 32]);
    pbkdf2_hmac::<Sha256>(password, &lanes, 1, &mut *derived);
    derived
}

/// scryptROMix.
fn mix(lane: &mut [u8], table: &mut [u32], n: usize) {
    let mut x = Zeroizing::new(words(lane).collect::<Vec<_>>());
    let mut y = x.clone();
    let len = x.len();
    for row in table.chunks_exact_mut(len) {
        row.copy_from_slice(&x);
        block_mix(row, &mut x);
    }
    for _ in 0..n {
        // The lowest bits of the last block: n is far below 2^32.
        let at = x[len - 16] as usize & (n - 1);
        let row = &table[at * len..][..len];
        for ((to, a), b) in y.iter_mut().zip(&*x).zip(row) {
            *to = a ^ b;
        }
        block_mix(&y, &mut x);
    }
    for (to, word) in lane.chunks_exact_mut(4).zip(&*x) {
        to.copy_from_slice(&word.to_le_bytes());
    }
}

/// scryptBlockMix: even blocks to the first half of `to`, odd ones to the second.
fn block_mix(from: &[u32], to: &mut [u32]) {
    let half = from.len() / 2;
    let mut block = [0; 16];
    block.copy_from_slice(&from[from.len() - 16..]);
    for (i, next) in from.chunks_exact(16).enumerate() {
        for (word, other) in block.iter_mut().zip(next) {
            *word ^= other;
        }
        let mut bytes = [0; 64];
        SalsaCore::<U4>::from_raw_state(block).write_keystream_block((&mut bytes).into());
        for (word, read) in block.iter_mut().zip(words(&bytes)) {
            *word = read;
        }
        to[i / 2 * 16 + i % 2 * half..][..16].copy_from_slice(&block);
    }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().expect("4 bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_rfc_7914_come_out() {
        // Section 12; of 64 bytes the first 32, which do not depend on how many are asked for.
        let check = |password: &str, salt: &str, costs, want| {
            let derived = scrypt(password.as_bytes(), salt.as_bytes(), costs);
            assert_eq!(hex::encode(*derived), want);
        };
        check(
            "",
            "",
            [16, 1, 1],
            "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442",
        );
        check(
            "password",
            "NaCl",
            [1024, 8, 16],
            "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162",
        );
        check(
            "pleaseletmein",
            "SodiumChloride",
            [16384, 8, 1],
            "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2",
        );
    }
}
