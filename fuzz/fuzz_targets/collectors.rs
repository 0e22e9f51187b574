#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wickr_exporter_fuzz::collectors(data));
