//! The CA bundles of tenants: equal ones are kept once in the process, and those of one tenant are bounded together.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::trust::{CaBundle, CaBundleError};

/// The largest CA bundle. All public roots together are smaller.
pub(super) const BUNDLE_MAX_SIZE: usize = 256 * 1024;
/// How large the different CA bundles of a namespace may be together, while they are in use.
pub(super) const TENANT_MAX_SIZE: usize = 8 * 1024 * 1024;

type Digest = [u8; 32];

/// Why a bundle of a tenant is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleRefusal {
    /// It holds nothing that can be used.
    Defective(CaBundleError),
    /// It is larger than 256 KiB.
    TooLarge,
    /// With it, the tenant's would be larger than 8 MiB.
    TooMany,
}

/// The bundles in use. Their users own them; this only finds them again.
#[derive(Default)]
pub struct Bundles(Mutex<Known>);

#[derive(Default)]
struct Known {
    bundles: HashMap<Digest, Weak<[u8]>>,
    tenants: HashMap<String, HashSet<Digest>>,
}

impl Bundles {
    /// Accepts a bundle of a tenant.
    ///
    /// # Errors
    /// Why it is not used.
    pub fn accept(&self, tenant: &str, pem: &[u8]) -> Result<CaBundle, BundleRefusal> {
        if pem.len() > BUNDLE_MAX_SIZE {
            return Err(BundleRefusal::TooLarge);
        }
        let parsed = CaBundle::parse(pem).map_err(BundleRefusal::Defective)?;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.forget_unused();
        let bundle = match known.bundles.get(parsed.digest()).and_then(Weak::upgrade) {
            Some(pem) => parsed.interned(pem),
            None => parsed,
        };
        known.count(tenant, &bundle)?;
        Ok(bundle.of_tenant(tenant))
    }
}

impl Known {
    fn forget_unused(&mut self) {
        let Self { bundles, tenants } = self;
        bundles.retain(|_, bundle| bundle.strong_count() > 0);
        tenants.retain(|_, digests| {
            digests.retain(|digest| bundles.contains_key(digest));
            !digests.is_empty()
        });
    }

    fn count(&mut self, tenant: &str, bundle: &CaBundle) -> Result<(), BundleRefusal> {
        let Self { bundles, tenants } = self;
        let digests = tenants.entry(tenant.to_owned()).or_default();
        if !digests.contains(bundle.digest()) {
            let size = |digest| bundles.get(digest).and_then(Weak::upgrade).map_or(0, |pem| pem.len());
            let used: usize = digests.iter().map(size).sum();
            if used + bundle.pem().len() > TENANT_MAX_SIZE {
                return Err(BundleRefusal::TooMany);
            }
            digests.insert(*bundle.digest());
        }
        bundles.insert(*bundle.digest(), Arc::downgrade(bundle.shared()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bundle of about this size.
    fn bundle(number: usize, size: usize) -> Vec<u8> {
        let authority = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap();
        let text = format!("# {number} {}\n{}", "x".repeat(size), authority.cert.pem());
        text.into_bytes()
    }

    #[test]
    fn equal_bundles_of_all_tenants_are_kept_once() {
        let bundles = Bundles::default();
        let pem = bundle(0, 10);
        let (one, other) = (bundles.accept("shop", &pem).unwrap(), bundles.accept("bank", &pem).unwrap());
        assert!(Arc::ptr_eq(one.shared(), other.shared()));
        assert!(bundles.accept("shop", &pem).unwrap() == one);
    }

    #[test]
    fn a_tenants_different_bundles_are_bounded_together_until_some_are_not_used_any_more() {
        let bundles = Bundles::default();
        assert_eq!(bundles.accept("shop", &bundle(0, BUNDLE_MAX_SIZE)), Err(BundleRefusal::TooLarge));
        assert_eq!(bundles.accept("shop", b"garbage"), Err(BundleRefusal::Defective(CaBundleError)));
        let large = |number| bundle(number, BUNDLE_MAX_SIZE - 2000);
        let mut kept: Vec<_> = (0..32).map(|it| bundles.accept("shop", &large(it)).unwrap()).collect();
        assert_eq!(bundles.accept("shop", &large(32)), Err(BundleRefusal::TooMany));
        assert!(bundles.accept("shop", kept[0].pem()).is_ok(), "one that is in use");
        assert!(bundles.accept("bank", &large(33)).is_ok(), "another tenant");
        kept.truncate(31);
        assert!(bundles.accept("shop", &large(34)).is_ok());
    }
}
