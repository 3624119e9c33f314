//! Many credentials of few accounts, in many namespaces.

use serde_json::json;

use super::field::{Field, LIMIT, PER_NAMESPACE, login_of};
use super::figures::{Case, float};

pub(super) const ACCOUNTS: usize = 10;

/// First tokens of so many credentials: all of a namespace use one account, and each account is used in many namespaces.
pub(super) async fn of_few_accounts(field: &Field<'_>, size: usize, case: &mut Case) {
    field.issuer.add_users(&(0..ACCOUNTS).map(login_of).collect::<Vec<_>>()).await;
    Field::for_each(0..field.namespaces.len(), async |namespace| {
        field.add_login(namespace * PER_NAMESPACE, &login_of(namespace % ACCOUNTS)).await;
    })
    .await;
    field.settle().await;
    let (start, rest) = (field.sample().await, field.memory());
    Field::for_each(0..size, async |number| {
        let login = login_of(field.namespace_number(number) % ACCOUNTS);
        field.create_with(number, json!({"loginSecretRef": {"name": login}})).await;
    })
    .await;
    field.tracker.until_ready(size, LIMIT).await;
    case.set("seconds", field.spent_since(&start).await.seconds);
    field.settle().await;
    let (spent, now) = (field.spent_since(&start).await, field.memory());
    case.set("issuer calls", f64::from(spent.calls));
    case.set_spent(&spent, size, "credential");
    case.set("heap KiB a credential", (now.heap - rest.heap) * 1024.0 / float(size));
}
