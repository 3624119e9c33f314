//! The API server in memory: held to the real one by a table of cases, and what only it can do.

mod apply;
mod custom;
mod plain;
mod reading;
mod running;
mod step;

use std::sync::Arc;

use futures::future::join_all;
use idissuer_testbed::memory::MemoryApi;
use idissuer_testbed::{ControlPlane, Controllers, Options, TestNamespace};

use step::{Case, take};

fn memory() -> MemoryApi {
    MemoryApi::new(Arc::new(|| jiff::Timestamp::from_second(1_800_000_000).unwrap()))
}

/// What both API servers have to do alike.
fn table() -> Vec<Case> {
    [apply::cases(), custom::cases(), reading::cases(), plain::cases()].into_iter().flatten().collect()
}

fn report(side: &str, outcomes: Vec<Result<(), String>>) {
    let failures: Vec<String> = outcomes.into_iter().filter_map(Result::err).collect();
    assert!(failures.is_empty(), "{side} differs from the table:\n{}", failures.join("\n"));
}

#[tokio::test]
async fn the_real_api_server_keeps_to_the_table() {
    let crd = include_str!("../../../../../crds/idissuer.pl_idissuercredentials.yaml");
    let options = Options::new().controllers(Controllers::None).crd(crd);
    let control_plane = ControlPlane::start(options).await.unwrap();
    // So that it has forgotten what was before: a watch cannot go on from there.
    control_plane.api_server().stop().await.unwrap();
    control_plane.api_server().start().unwrap();
    control_plane.ready().await.unwrap();
    let outcomes = table().into_iter().map(async |case| {
        let namespace = TestNamespace::create(&control_plane, "table").await.unwrap();
        take(&case, namespace.client(), namespace.name()).await
    });
    report("the real API server", join_all(outcomes).await);
}

#[tokio::test(start_paused = true)]
async fn the_api_server_in_memory_keeps_to_the_table() {
    let api = memory();
    let outcomes = table()
        .into_iter()
        .enumerate()
        .map(async |(number, case)| take(&case, &api.client("table"), &format!("table-{number}")).await);
    report("the API server in memory", join_all(outcomes).await);
}
