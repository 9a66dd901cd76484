//! A reload: what is taken over, and what needs a new start.

use std::sync::Arc;
#[cfg(feature = "dns")]
use std::sync::atomic::Ordering;

use super::plane::Plane;
use super::run::Inner;
use super::{BuildError, PopBuilder, judge};

/// What became of a reload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reloaded {
    /// What is different in the new description and was left as it is, because it needs a new start: `name`,
    /// `settings`, `listen`, `admin`, `tls` (where a whole configuration of rustls was given), `zone` (zones without a
    /// listener for DNS, or none any more), `route`.
    pub not_applied: Vec<&'static str>,
}

impl Inner {
    /// Replaces what can be replaced. Everything is judged before anything is.
    pub(super) fn reload(&self, mut spec: PopBuilder) -> Result<Reloaded, BuildError> {
        judge::judge(&spec)?;
        #[cfg(feature = "redis")]
        spec.fabric.clone_from(&self.fabric);
        let plane = Plane::new(&spec, Some(&self.plane.load()))?;
        #[allow(unused_mut, reason = "zones and certificates may be added")]
        let mut not_applied = self.not_applied(&spec);
        #[cfg(feature = "dns")]
        match (&self.authority, judge::authority(&mut spec)?) {
            (Some(authority), Some(zones)) => {
                authority.store(zones);
                // Relaxed: who still reads the old word asks the forwarder once more.
                self.has_zones.store(true, Ordering::Relaxed);
            }
            (Some(_), None) if !self.has_zones.load(Ordering::Relaxed) => {}
            (None, None) => {}
            _ => not_applied.push("zone"),
        }
        #[cfg(not(feature = "dns"))]
        let _ = &mut spec;
        #[cfg(feature = "tls")]
        if !self.show(&spec.https) {
            not_applied.push("tls");
        }
        self.plane.store(Arc::new(plane));
        if !not_applied.is_empty() {
            tracing::warn!(target: "pop_edge", ?not_applied, "reloaded, but these need a new start");
        }
        Ok(Reloaded { not_applied })
    }

    /// What of a description is fixed, and different.
    fn not_applied(&self, spec: &PopBuilder) -> Vec<&'static str> {
        let mut fields = vec![
            ("name", *spec.name != *self.name),
            ("settings", spec.settings != *self.settings),
            ("listen", !self.sockets().listens_as(spec)),
            (
                "admin",
                match (&spec.admin, &self.admin) {
                    (Some(new), Some(old)) => !new.is_same(old),
                    (new, old) => new.is_some() != old.is_some(),
                },
            ),
        ];
        #[cfg(feature = "route")]
        fields.push((
            "route",
            match (&spec.selector, &self.selector) {
                (Some(new), Some(old)) => !Arc::ptr_eq(new, old),
                // A file has none: it stays.
                (None, _) => false,
                (Some(_), None) => true,
            },
        ));
        fields.retain(|(_, differs)| *differs);
        fields.into_iter().map(|(field, _)| field).collect()
    }

    /// Shows new certificates on the listeners there are; `false` if one of them shows what it was given whole.
    #[cfg(feature = "tls")]
    fn show(&self, listeners: &[(std::net::SocketAddr, crate::config::Certificates)]) -> bool {
        let sockets = self.sockets();
        let secure = sockets.wanted.iter().filter_map(|wanted| Some((wanted.address, wanted.tls.as_ref()?)));
        let pairs = secure.zip(listeners).filter(|((own, _), (new, _))| own == new);
        // All of them, whatever the first says.
        pairs.fold(true, |all, ((_, listener), (_, certificates))| listener.show(certificates) && all)
    }
}
