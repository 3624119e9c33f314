//! The Lease of an operator, which says whether somebody leads.

use jiff::Timestamp;

use super::cluster::Cluster;
use super::failure::Failure;
use super::lifetime::relative;

/// What a Lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LeaseFacts {
    /// Its namespace and name.
    pub(super) path: String,
    /// None: it does not exist, or nobody holds it.
    pub(super) holder: Option<String>,
    pub(super) renewed: Option<Timestamp>,
    pub(super) seconds: i32,
}

impl LeaseFacts {
    /// The lease that the status of a credential names; none for an operator without one.
    pub(super) async fn read(cluster: &Cluster, controller: &str) -> Result<Option<Self>, Failure> {
        let Some((namespace, name)) = lease_of(controller) else { return Ok(None) };
        let lease = cluster.lease(namespace, name).await?;
        let spec = lease.and_then(|lease| lease.spec).unwrap_or_default();
        Ok(Some(Self {
            path: format!("{namespace}/{name}"),
            holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
            renewed: spec.renew_time.map(|time| time.0),
            seconds: spec.lease_duration_seconds.unwrap_or(15),
        }))
    }

    /// Whether nobody leads: the lease is free, or was not renewed for twice as long as it lasts.
    pub(super) fn is_lost(&self, now: Timestamp) -> bool {
        let age = self.renewed.map(|renewed| now.duration_since(renewed).as_secs());
        self.holder.is_none() || age.is_none_or(|age| age > i64::from(self.seconds.max(1)) * 2)
    }

    /// The namespace and name of the pod that holds it: an identity is the name of the pod and a random number.
    pub(super) fn leading_pod(&self) -> Option<(&str, &str)> {
        let (namespace, _) = self.path.split_once('/')?;
        let (pod, _) = self.holder.as_deref()?.rsplit_once('_')?;
        Some((namespace, pod))
    }

    /// Who holds it, for people.
    pub(super) fn describe(&self, now: Timestamp) -> String {
        match (&self.holder, self.renewed) {
            (Some(holder), Some(renewed)) => {
                format!("Lease {}: {holder} renewed it {}", self.path, relative(renewed, now))
            }
            _ => format!("Lease {}: nobody holds it", self.path),
        }
    }
}

/// The namespace and name of a lease; an operator without one is `none/HOST/ADDRESS`.
fn lease_of(controller: &str) -> Option<(&str, &str)> {
    controller.split_once('/').filter(|(namespace, name)| *namespace != "none" && !name.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::row::tests::time;

    #[test]
    fn a_controller_names_its_lease_or_has_none() {
        assert_eq!(lease_of("idissuer-system/idissuer"), Some(("idissuer-system", "idissuer")));
        assert_eq!(lease_of("none/host/127.0.0.1:8080"), None);
        assert_eq!(lease_of("odd"), None);
    }

    #[test]
    fn a_holder_names_its_pod() {
        let lease = |holder: Option<&str>| LeaseFacts {
            path: "system/idissuer".to_owned(),
            holder: holder.map(str::to_owned),
            renewed: None,
            seconds: 15,
        };
        assert_eq!(lease(Some("idissuer-5d_0a1b2c3d")).leading_pod(), Some(("system", "idissuer-5d")));
        assert_eq!(lease(Some("odd")).leading_pod(), None);
        assert_eq!(lease(None).leading_pod(), None);
    }

    #[test]
    fn a_lease_is_lost_when_nobody_holds_or_renews_it() {
        let now = time("2026-01-01T00:01:00Z");
        for (holder, renewed, lost) in [
            (Some("pod"), Some("2026-01-01T00:00:45Z"), false),
            (Some("pod"), Some("2026-01-01T00:00:20Z"), true),
            (Some("pod"), None, true),
            (None, Some("2026-01-01T00:00:59Z"), true),
        ] {
            let lease = LeaseFacts {
                path: "a/b".to_owned(),
                holder: holder.map(str::to_owned),
                renewed: renewed.map(time),
                seconds: 15,
            };
            assert_eq!(lease.is_lost(now), lost, "{holder:?} {renewed:?}");
        }
    }
}
