#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    daee_fuzz::run("door", input);
});
