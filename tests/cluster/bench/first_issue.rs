//! From the creation of credentials to their first tokens.

use std::ops::Range;

use kube::api::PostParams;
use serde_json::json;

use super::field::{Field, LIMIT, login_of, name_of};
use super::figures::{Case, float, percentile};
use crate::operator::{PASSWORD, credential};

/// Makes the API server compile what it needs for a write, without storing anything.
pub(super) async fn warm_up(field: &Field<'_>) {
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    Field::for_each(0..200, async |number| {
        let spec = json!({"loginSecretRef": {"name": login_of(number)}});
        let object = serde_json::from_value(credential(&name_of(number), spec)).unwrap();
        field.credentials_of(number).create(&dry, &object).await.unwrap();
        let secret = json!({"metadata": {"name": name_of(number)}, "stringData": {"password": PASSWORD}});
        let secret = serde_json::from_value(secret).unwrap();
        field.secrets_of(number).create(&dry, &secret).await.unwrap();
    })
    .await;
}

/// Creates credentials, and waits for their first tokens. The field has an operator that rests.
pub(super) async fn first_issue(field: &Field<'_>, numbers: Range<usize>, case: &mut Case) {
    let size = numbers.len();
    let start = field.sample().await;
    Field::for_each(numbers.clone(), |number| field.create(number)).await;
    field.tracker.until_ready(numbers.end, LIMIT).await;
    let seconds = field.spent_since(&start).await.seconds;
    field.settle().await;
    let spent = field.spent_since(&start).await;
    let waits = field.tracker.waits();
    case.set("seconds", seconds);
    case.set("credentials a second", float(size) / seconds);
    case.set("wait p50 seconds", percentile(&waits, 50));
    case.set("wait p99 seconds", percentile(&waits, 99));
    case.set_spent(&spent, size, "credential");
}
