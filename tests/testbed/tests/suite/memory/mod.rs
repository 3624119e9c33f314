//! The API server in memory: held to the real one by a table of cases, and what only it can do.

mod running;

use std::sync::Arc;

use idissuer_testbed::memory::MemoryApi;

fn memory() -> MemoryApi {
    MemoryApi::new(Arc::new(|| jiff::Timestamp::from_second(1_800_000_000).unwrap()))
}
