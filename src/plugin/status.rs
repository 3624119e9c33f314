//! `kubectl idissuer status`: the credentials with their time left, or one of them with all that belongs to it.

mod detail;

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use super::Context;
use super::cluster::{Cluster, Scope};
use super::cluster_clock::ClusterClock;
use super::failure::{Failure, FailureKind};
use super::lease::{Leases, time_of_holder};
use super::row::{Row, TokenRow};
use super::screen::{Format, Screen, Table, plain};
use super::selection::nothing_found;

/// How often `--watch` looks.
const PAUSE: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kubectl idissuer status                 the credentials of the namespace
  kubectl idissuer status -A --watch      all of them, until Ctrl-C
  kubectl idissuer status billing         one, with its Secret, Events, followers, and the pods that use it
  kubectl idissuer status --followers-of billing
                                          all that share its tokens, in all namespaces, also without permission

LEFT is the life of the token in the Secret, by the clock of the operator, whatever this machine's clock shows. On a terminal, | in the
bar marks where the renewal is due.

Exit codes: 0 all are ready and their tokens are valid; 3 not all.
Rights: list on idissuercredentials.idissuer.pl; with NAME get on it, and where they exist get on the Secret, list on
events.events.k8s.io and on pods. What may not be read is named, and the rest is shown. Without get on the Lease of the operator,
its clock counts as right.")]
pub(super) struct StatusArguments {
    /// Show one credential with all that belongs to it
    #[arg(value_name = "NAME", conflicts_with_all = ["selector", "all_namespaces"])]
    name: Option<String>,

    /// Those with these labels, as for kubectl: app=shop,tier!=test
    #[arg(short = 'l', long, value_name = "LABELS")]
    selector: Option<String>,

    /// In all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,

    /// Those that follow this credential, in all namespaces
    #[arg(long, value_name = "NAME", conflicts_with_all = ["name", "all_namespaces"])]
    followers_of: Option<String>,

    /// Show it again when it changes, until Ctrl-C
    #[arg(short, long, conflicts_with = "output")]
    watch: bool,

    /// Print it as data: json or yaml
    #[arg(short, long, value_name = "FORMAT", hide_possible_values = true)]
    output: Option<Format>,
}

/// Shows the status.
pub(super) async fn run(arguments: StatusArguments, context: &mut Context<'_>) -> Result<(), Failure> {
    let cluster = context.cluster().await?;
    if arguments.watch {
        return watch(&arguments, &cluster, context).await;
    }
    let now = ClusterClock::read(&cluster, context.clock).await.now();
    if let Some(name) = &arguments.name {
        let detail = detail::Detail::read(&cluster, name, now).await?;
        if let Some(format) = arguments.output {
            context.screen.data(format, &detail)?;
        } else {
            let text = detail.render(context.screen);
            context.screen.print(&text)?;
        }
        return good_or_shown(detail.is_good());
    }
    let (rows, notes) = arguments.rows(&cluster, now).await?;
    match arguments.output {
        Some(format) => context.screen.data(format, &json!({"credentials": rows, "notShown": notes}))?,
        None if rows.is_empty() && notes.is_empty() => {
            context.screen.line(&arguments.nothing_found(&cluster))?;
        }
        None => {
            let text = list(&rows, &notes, arguments.with_namespace(), context.screen);
            context.screen.print(&text)?;
        }
    }
    good_or_shown(notes.is_empty() && rows.iter().all(|row| row.is_good))
}

impl StatusArguments {
    fn scope<'a>(&self, cluster: &'a Cluster) -> Scope<'a> {
        if self.with_namespace() { Scope::All } else { Scope::Namespace(&cluster.namespace) }
    }

    /// Whether they may be in several namespaces.
    fn with_namespace(&self) -> bool {
        self.all_namespaces || self.followers_of.is_some()
    }

    /// The credential whose followers are meant, with its namespace.
    fn owner(&self, cluster: &Cluster) -> Option<String> {
        self.followers_of.as_ref().map(|name| format!("{}/{name}", cluster.namespace))
    }

    /// The rows at this time by the clock of the API server, and what to say of credentials that are not understood.
    async fn rows(&self, cluster: &Cluster, now: Timestamp) -> Result<(Vec<Row>, Vec<String>), Failure> {
        let credentials = cluster.credentials(self.scope(cluster), self.selector.as_deref()).await?;
        let owner = self.owner(cluster);
        let is_meant = |row: &Row| owner.is_none() || row.follows == owner;
        let leases = Leases::read(cluster, &credentials.known).await;
        let row = |credential| Row::new(credential, time_of_holder(leases.of(credential), now));
        let rows = credentials.known.iter().map(row).filter(is_meant);
        Ok((rows.collect(), credentials.notes().collect()))
    }

    fn nothing_found(&self, cluster: &Cluster) -> String {
        self.owner(cluster).map_or_else(
            || nothing_found(self.scope(cluster)),
            |owner| format!("No IdIssuerCredential follows {owner}."),
        )
    }
}

fn good_or_shown(is_good: bool) -> Result<(), Failure> {
    if is_good { Ok(()) } else { Err(Failure::shown(FailureKind::NotReady)) }
}

/// Shows it again whenever it changes; on a terminal also the time left.
async fn watch(
    arguments: &StatusArguments,
    cluster: &Cluster,
    context: &mut Context<'_>,
) -> Result<(), Failure> {
    let clock = ClusterClock::read(cluster, context.clock).await;
    let mut last = None;
    loop {
        let now = clock.now();
        // Without the time left, which always changes.
        let (state, text) = if let Some(name) = &arguments.name {
            let detail = detail::Detail::read(cluster, name, now).await?;
            (detail.state(), detail.render(context.screen))
        } else {
            let (rows, notes) = arguments.rows(cluster, now).await?;
            let text = list(&rows, &notes, arguments.with_namespace(), context.screen);
            (rows.iter().map(state).collect::<Vec<_>>().join("\n"), text)
        };
        if context.screen.is_decorated() || last.as_ref() != Some(&state) {
            context.screen.clear()?;
            context.screen.print(&text)?;
        }
        last = Some(state);
        tokio::time::sleep(PAUSE).await;
    }
}

/// What of a row is worth showing again.
fn state(row: &Row) -> String {
    let expiration = row.token.as_ref().map(|token| token.expiration_time.to_string());
    format!("{} {} {} {} {:?}", row.path(), row.is_good, row.ready, row.state(), expiration)
}

/// The list, and what is missing in it.
fn list(rows: &[Row], notes: &[String], with_namespace: bool, screen: &Screen) -> String {
    let notes = notes.iter().map(|note| format!("Not shown: {note}\n"));
    table(rows, with_namespace, screen) + &notes.collect::<String>()
}

fn table(rows: &[Row], with_namespace: bool, screen: &Screen) -> String {
    let mut titles = vec!["NAME", "READY", "LEFT", "RENEWAL", "GRANT", "LOGIN", "REASON"];
    if with_namespace {
        titles.insert(0, "NAMESPACE");
    }
    let mut table = Table::new(&titles);
    for row in rows {
        let token = row.token.as_ref();
        let mut cells = vec![
            plain(row.name.clone()),
            (row.tone(), row.ready.clone()),
            token.map_or_else(|| plain("-"), |token| (token.tone(), token.left(screen.is_decorated()))),
            plain(token.map_or_else(|| "-".to_owned(), TokenRow::renewal)),
            plain(token.map_or_else(|| "-".to_owned(), |token| format!("{:?}", token.grant))),
            plain(row.source()),
            (row.tone(), row.state()),
        ];
        if with_namespace {
            cells.insert(0, plain(row.namespace.clone()));
        }
        table.add(cells);
    }
    table.render(screen, "")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plugin::row::tests::{condition, credential, time, token};

    #[test]
    fn a_list_shows_what_is_known_of_each_credential() {
        let now = time("2026-01-01T00:16:48Z");
        let status =
            json!({"conditions": [condition("Ready", "True", "TokenPublished")], "token": token("a")});
        let login = json!({"loginSecretRef": {"name": "login"}});
        let rows = [credential(login.clone(), status), credential(login, Value::Null)];
        let rows = rows.map(|credential| Row::new(&credential, now));
        let screen = Screen::new(Box::new(std::io::sink()), false);
        assert_eq!(
            table(&rows, true, &screen),
            "NAMESPACE   NAME      READY     LEFT     RENEWAL     GRANT     LOGIN   REASON\n\
             shop        billing   True      43m12s   in 28m12s   Refresh   login   TokenPublished\n\
             shop        billing   Unknown   -        -           -         login   NoStatus\n"
        );
    }
}
