//! Carries out the faults of the plan and records them in the ledger.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use idissuer_simulator::{
    DurationRange, Fault as IssuerFault, FaultRule, Latency, RetryAfter, Simulator, User,
};
use idissuer_testbed::Component;
use idissuer_testbed::process::Signal;
use jiff::{SignedDuration, Timestamp};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use tokio::sync::Mutex;

use super::fleet::{
    Fleet, SoakCluster, TAKEOVER, account_of, name_of, namespace_of, number_of, password_of, user_of,
};
use super::ledger::{Ledger, Scope};
use super::plan::{Fault, Plan};
use crate::operator::now;

/// After the API server is back, the leader has its lease again within this time.
const LEASE_AGAIN: Duration = Duration::from_secs(3);
/// An attempt whose time has come is answered, and its token published, within this time.
const NEXT_ATTEMPT: Duration = Duration::from_secs(4);
/// Slow answers take so long: less than an answer is waited for at this lifetime (2 s).
const SLOW: DurationRange =
    DurationRange { from: Duration::from_millis(200), to: Duration::from_millis(1200) };

impl Fleet {
    /// Everything that the plan says, until this time after the opening of the ledger.
    pub(super) async fn suffer(&mut self, plan: &Plan, time: Duration, ledger: &Arc<Ledger>) {
        let cluster = self.cluster.clone();
        let (issuer, ledger_of_all) = (self.issuer.simulator().clone(), Arc::clone(ledger));
        let nuisances = Nuisances {
            cluster,
            issuer,
            ledger: ledger_of_all,
            changes: Mutex::default(),
            withdrawn: Mutex::default(),
        };
        let blows = async {
            for (at, fault) in &plan.blows {
                ledger.reaches(*at).await;
                eprintln!("{:>5.0} s  {}", ledger.now().as_secs_f32(), fault.name());
                ledger.count(*fault);
                self.strike(*fault, ledger).await;
            }
        };
        let nuisances = async {
            let mut going_on: FuturesUnordered<_> =
                plan.nuisances.iter().map(|(at, fault)| nuisances.make(*at, *fault)).collect();
            while going_on.next().await.is_some() {}
        };
        tokio::join!(blows, nuisances, ledger.reaches(time));
    }

    /// A fault that breaks a condition for all credentials, to its end.
    async fn strike(&mut self, fault: Fault, ledger: &Ledger) {
        let (from, began) = (ledger.now(), now());
        let until = match fault {
            Fault::KillLeader { away } => {
                let leader = self.leader().await;
                Some(self.kill(leader, away, ledger).await + TAKEOVER)
            }
            Fault::KillStandby { away } => {
                let standby = 1 - self.leader().await;
                self.kill(standby, away, ledger).await;
                None
            }
            Fault::PauseLeader { time } => Some(self.pause_leader(time, ledger).await + TAKEOVER),
            Fault::RestartApiServer { away } => {
                let api_server = self.cluster.control_plane.api_server();
                Some(self.restart(api_server, away, ledger).await + LEASE_AGAIN)
            }
            Fault::RestartEtcd { away } => {
                let etcd = self.cluster.control_plane.etcd();
                Some(self.restart(etcd, away, ledger).await + LEASE_AGAIN)
            }
            Fault::PauseApiServer { time } => Some(self.pause_api_server(time, ledger).await + LEASE_AGAIN),
            _ => self.trouble_issuer(fault, ledger).await,
        };
        if let Some(until) = until {
            ledger.broke(Scope::All, from, until);
        }
        if matches!(fault, Fault::KillLeader { .. } | Fault::PauseLeader { .. }) {
            self.excuse_unanswered_logins(began, ledger).await;
        }
    }

    /// A login with a new password that was under way when the leader went counts as rejected, for nobody knows how it
    /// ended: its account waits for as long as the login budget says.
    async fn excuse_unanswered_logins(&self, since: Timestamp, ledger: &Ledger) {
        let credentials = loop {
            match self.cluster.all_credentials().await {
                Ok(credentials) => break credentials,
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        };
        for credential in credentials {
            let login = credential.status.as_ref().and_then(|status| status.login.as_ref());
            let login = login.filter(|login| login.rejections > 0);
            let attempt = login.and_then(|login| Some((login.rejections, login.attempt_time.as_ref()?.0)));
            // It takes a moment to find the leader, and the successor begins later than this.
            let Some((rejections, at)) =
                attempt.filter(|(_, at)| *at <= since + SignedDuration::from_secs(1))
            else {
                continue;
            };
            let wait = Duration::from_secs(match rejections {
                1 => 5 * 60,
                2 => 15 * 60,
                _ => 60 * 60,
            });
            let ago = Duration::try_from(now().duration_since(at)).unwrap_or_default();
            let (from, account) = (ledger.now().saturating_sub(ago), account_of(number_of(&credential)));
            ledger.broke(Scope::Account(account), from, from + wait + NEXT_ATTEMPT);
        }
    }

    /// Returns when it was killed. It is started again after a while.
    async fn kill(&mut self, replica: usize, away: Duration, ledger: &Ledger) -> Duration {
        let killed = ledger.now();
        let replica = &mut self.replicas[replica];
        replica.take_process().kill().await.unwrap();
        tokio::time::sleep(away).await;
        replica.start(self.cluster.control_plane).await;
        replica.until_ready().await;
        killed
    }

    async fn pause_leader(&mut self, time: Duration, ledger: &Ledger) -> Duration {
        let leader = self.leader().await;
        let paused = ledger.now();
        self.replicas[leader].process().signal(Signal::Stop).unwrap();
        tokio::time::sleep(time).await;
        self.replicas[leader].process().signal(Signal::Continue).unwrap();
        paused
    }

    /// Kills a part of the control plane and starts it again after a while. Returns when all is ready.
    async fn restart(&self, part: &Component, away: Duration, ledger: &Ledger) -> Duration {
        part.kill().await.unwrap();
        tokio::time::sleep(away).await;
        part.start().unwrap();
        self.cluster.control_plane.ready().await.unwrap();
        ledger.now()
    }

    async fn pause_api_server(&self, time: Duration, ledger: &Ledger) -> Duration {
        let control_plane = self.cluster.control_plane;
        control_plane.api_server().pause().unwrap();
        tokio::time::sleep(time).await;
        control_plane.api_server().resume().unwrap();
        control_plane.ready().await.unwrap();
        ledger.now()
    }

    /// Until when the issuer would not have accepted a login.
    async fn trouble_issuer(&self, fault: Fault, ledger: &Ledger) -> Option<Duration> {
        let none = Duration::ZERO;
        let (rule, time, afterwards) = match fault {
            Fault::IssuerFails { status, time } => (FaultRule::new(IssuerFault::status(status)), time, none),
            Fault::IssuerHangs { time } => (FaultRule::new(IssuerFault::Hang), time, none),
            Fault::IssuerLosesAnswers { time } => (FaultRule::new(IssuerFault::Lost).chance(0.5), time, none),
            Fault::IssuerThrottles { seconds, time } => {
                // Afterwards, accounts wait as they were asked to. A follower that is permitted meanwhile gets what the session
                // of its owner holds, without a call. But after a change of the leader no session holds anything, and a token
                // that is read in the owner's target is given to nobody else. From outside, the two look alike.
                let fault = IssuerFault::retry_after(429, RetryAfter::Seconds(seconds));
                (FaultRule::new(fault), time, Duration::from_secs(seconds.into()))
            }
            _ => return None,
        };
        while_rule_stands(&self.issuer, rule, time).await;
        Some(ledger.now() + afterwards)
    }
}

async fn while_rule_stands(issuer: &Simulator, rule: FaultRule, time: Duration) {
    issuer.inject(rule.clone());
    tokio::time::sleep(time).await;
    issuer.configure(|it| it.faults.retain(|other| *other != rule));
}

/// Makes the light faults, each by itself.
struct Nuisances {
    cluster: SoakCluster,
    issuer: Simulator,
    ledger: Arc<Ledger>,
    /// How many passwords were changed. One at a time: the last one written has to be the one that is good.
    changes: Mutex<u32>,
    /// The owners that permit nobody now.
    withdrawn: Mutex<BTreeSet<usize>>,
}

impl Nuisances {
    async fn make(&self, at: Duration, fault: Fault) {
        self.ledger.reaches(at).await;
        let from = self.ledger.now();
        let is_made = match fault {
            Fault::SlowAnswers { time } => {
                self.issuer.configure(|it| it.latency = Latency::of(SLOW));
                tokio::time::sleep(time).await;
                self.issuer.configure(|it| it.latency = Latency::default());
                true
            }
            Fault::RefusedRefreshes { account, time } => {
                let rule = FaultRule::on_refresh(IssuerFault::status(400)).of_user(&user_of(account));
                while_rule_stands(&self.issuer, rule, time).await;
                true
            }
            Fault::LostAnswer { account } => {
                self.issuer.inject(FaultRule::new(IssuerFault::Lost).of_user(&user_of(account)).once());
                true
            }
            Fault::ChangedPassword { account } => self.change_password(account).await,
            Fault::DeletedTarget { credential } => {
                let secrets = self.cluster.secrets(namespace_of(credential));
                let deleted = secrets.delete(&name_of(credential), &DeleteParams::default()).await;
                self.harmed(credential, from, deleted.is_ok())
            }
            Fault::EditedTarget { credential } => {
                let secrets = self.cluster.secrets(namespace_of(credential));
                let forged = Patch::Merge(json!({"stringData": {"token": "forged"}}));
                let edited = secrets.patch(&name_of(credential), &PatchParams::default(), &forged).await;
                self.harmed(credential, from, edited.is_ok())
            }
            Fault::WithdrawnPermission { owner, time } => self.withdraw_permission(owner, time).await,
            _ => false,
        };
        if is_made {
            self.ledger.count(fault);
        }
    }

    /// The promise is about tokens that the operator published; what others write is none.
    fn harmed(&self, credential: usize, from: Duration, is_done: bool) -> bool {
        if is_done {
            self.ledger.broke(Scope::Credential(credential), from, self.ledger.now());
        }
        is_done
    }

    /// For this time at least, if it is permitted now.
    async fn withdraw_permission(&self, owner: usize, time: Duration) -> bool {
        if !self.withdrawn.lock().await.insert(owner) {
            return false;
        }
        let from = self.ledger.now();
        self.permit(owner, false).await;
        let withdrawn = self.ledger.now();
        tokio::time::sleep(time).await;
        self.ledger.denied(owner, withdrawn, self.ledger.now());
        self.permit(owner, true).await;
        self.ledger.broke(Scope::Followers(owner), from, self.ledger.now());
        self.withdrawn.lock().await.remove(&owner);
        true
    }

    async fn permit(&self, owner: usize, is_permitted: bool) {
        while self.cluster.permit(owner, is_permitted).await.is_err() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// At the issuer first. Until it stands in all login Secrets, the old one is rejected.
    async fn change_password(&self, account: usize) -> bool {
        let mut changes = self.changes.lock().await;
        *changes += 1;
        let from = self.ledger.now();
        self.issuer.set_user(&User::new(&user_of(account), &password_of(account, *changes)));
        while self.cluster.write_login(account, *changes).await.is_err() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.ledger.broke(Scope::Account(account), from, self.ledger.now());
        true
    }
}
