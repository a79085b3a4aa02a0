//! Every constant that peers must agree on.

use heartchain_chain::{
    block::{MAX_AUTHOR_READINGS, MAX_BLOCK_LEN, MAX_BLOCK_READINGS, MIN_BLOCK_READINGS},
    bpm::Bpm,
    content::ReadingForm,
    difficulty::{
        LWMA_WINDOW, MEDIAN_BLOCKS, MIN_QUIET_MS, QUIET_INTERVALS, SOLVE_CLAMP, STEP_CLAMP,
        WINDOW_HEADERS,
    },
    header::{HEADER_VERSION, Header},
    profile::{MAX_NAME_LEN, MAX_PROFILE_LEN},
    room::{
        DEFAULT_BLOCK_INTERVAL_MS, DEFAULT_FLOOR_BITS, MAX_BLOCK_INTERVAL_MS, MAX_FLOOR_BITS,
        MAX_ROOM_NAME_LEN, MIN_BLOCK_INTERVAL_MS, MIN_FLOOR_BITS,
    },
    room_key::TOKEN_LEN,
    time::MAX_READING_TIME,
    validate::MAX_FUTURE_MS,
};
use serde_json::{Value, json};

pub(super) fn vectors() -> Value {
    json!({
        "genesis_tag": "heartchain/genesis/2",
        "reading_tag": "heartchain/reading/2",
        "header_version": HEADER_VERSION,
        "header_len": Header::LEN,
        "reading_len": ReadingForm::Open.reading_len(),
        "sealed_reading_len": ReadingForm::Sealed.reading_len(),
        "min_block_readings": MIN_BLOCK_READINGS,
        "max_block_readings": MAX_BLOCK_READINGS,
        "max_author_readings": MAX_AUTHOR_READINGS,
        "max_block_len": MAX_BLOCK_LEN,
        "min_bpm": Bpm::MIN.get(),
        "max_bpm": Bpm::MAX.get(),
        "max_reading_time_ms": MAX_READING_TIME.get(),
        "max_room_name_len": MAX_ROOM_NAME_LEN,
        "max_profile_name_len": MAX_NAME_LEN,
        "max_profile_len": MAX_PROFILE_LEN,
        "token_len": TOKEN_LEN,
        "min_floor_bits": MIN_FLOOR_BITS,
        "max_floor_bits": MAX_FLOOR_BITS,
        "default_floor_bits": DEFAULT_FLOOR_BITS,
        "min_block_interval_ms": MIN_BLOCK_INTERVAL_MS,
        "max_block_interval_ms": MAX_BLOCK_INTERVAL_MS,
        "default_block_interval_ms": DEFAULT_BLOCK_INTERVAL_MS,
        "max_future_ms": MAX_FUTURE_MS,
        "lwma_window": LWMA_WINDOW,
        "median_blocks": MEDIAN_BLOCKS,
        "solve_clamp_intervals": SOLVE_CLAMP,
        "step_clamp": STEP_CLAMP,
        "min_quiet_ms": MIN_QUIET_MS,
        "quiet_intervals": QUIET_INTERVALS,
        "window_headers": WINDOW_HEADERS,
    })
}
