//! What the operator writes into its log.

use std::collections::HashMap;
use std::time::Duration;

use idissuer_simulator::{Fault, FaultRule};
use idissuer_testbed::wait;
use serde_json::json;

use crate::operator::{LIMIT, Stage, issuer};

/// How often a call to the issuer failed because that was unavailable.
async fn failures(stage: &Stage) -> u64 {
    let (_, page) = stage.operator.page("/metrics").await;
    let of_failures = |line: &&str| {
        line.starts_with("idissuer_issuer_requests_total{") && line.contains("outcome=\"unavailable\"")
    };
    page.lines().filter(of_failures).filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[tokio::test]
async fn a_warning_is_said_once_a_minute_however_often_it_is_tried_again() {
    let stage = Stage::start("saying", issuer(Duration::from_secs(8))).await;
    stage.apply(json!({})).await;
    stage.ready().await;
    stage.issuer.inject(FaultRule::new(Fault::status(503)));
    wait::until("several failures", LIMIT, async || match failures(&stage).await {
        8.. => Ok(()),
        number => Err(number.to_string()),
    })
    .await;
    let mut times: HashMap<String, usize> = HashMap::new();
    for line in
        stage.operator.output().lines().filter_map(|line| Some(line.split_once(" WARN ")?.1.to_owned()))
    {
        *times.entry(line).or_default() += 1;
    }
    assert!(times.keys().any(|line| line.contains("IssuerUnavailable")), "{times:#?}");
    assert!(times.values().all(|times| *times == 1), "{times:#?}");
}
