//! What is remembered of one that a host sends to.

use alloc::boxed::Box;
use core::net::IpAddr;

use netdev::Instant;

use super::Flows;
use crate::ip::Route;
use crate::ip::templates::{Changes, Template};

/// One that a host sends to.
pub(crate) struct Destination {
    pub(super) route: Route,
    pub(super) generation: u32,
    // Its source was asked for, and is not what the host would choose.
    pub(super) by_request: bool,
    // Nothing was sent there by itself: it makes way for what is.
    pub(super) aside: bool,
    // It was sent to by its template, and not put to the end of its list.
    pub(super) used: bool,
    pub(super) exceptions: Option<Box<Exceptions>>,
    pub(super) flows: Flows,
    // Of this route.
    pub(super) template: Option<Template>,
}

/// What others have said of the way to a destination, or may yet.
#[derive(Default)]
pub(super) struct Exceptions {
    pub(super) path_mtu: Option<PathMtu>,
    /// The neighbour to which a router said to send (RFC 4861 §8).
    pub(super) redirect: Option<Redirect>,
    // Identifier and sequence number of the last echo reply that may be too long for the path.
    pub(super) echo: Option<[u8; 4]>,
}

#[derive(Clone, Copy)]
pub(super) struct Redirect {
    pub(super) next_hop: IpAddr,
    pub(super) until: Instant,
}

#[derive(Clone, Copy)]
pub(super) struct PathMtu {
    pub(super) mtu: u16,
    pub(super) until: Instant,
}

impl Destination {
    /// The template for what is sent there, if there is one that may be used: from this source, or from
    /// the one that the host would choose. Besides, the flows, of which it is to be one.
    #[inline]
    pub(crate) fn template(
        &mut self,
        now: Instant,
        changes: Changes,
        source: Option<IpAddr>,
    ) -> Option<(&mut Template, &mut Flows)> {
        let fits = self.goes_from(source);
        let template = self.template.as_mut().filter(|_| fits)?;
        if !template.is_valid(now, changes) {
            return None;
        }
        self.used = true;
        Some((template, &mut self.flows))
    }

    /// Whether there is a template for it, be it too old.
    pub(crate) fn has_template(&self) -> bool {
        self.template.is_some()
    }

    /// The template for what is sent there by its route, while that holds: another neighbour may have to
    /// be written into it. Besides, the flows, as above.
    #[inline]
    pub(crate) fn old_template(&mut self) -> Option<(&mut Template, &mut Flows)> {
        Some((self.template.as_mut()?, &mut self.flows))
    }

    /// The way by which something has been sent there, if it still holds.
    pub(crate) fn route(&self, generation: u32) -> Option<&Route> {
        (self.generation == generation && !self.aside).then_some(&self.route)
    }

    /// What is sent there goes by this template from now on.
    pub(crate) fn set_template(&mut self, template: Template) {
        self.template = Some(template);
    }

    /// Which flows have gone there of late.
    pub(crate) fn flows(&mut self) -> &mut Flows {
        &mut self.flows
    }

    /// Whether what goes from this source, or from the one that the host would choose, goes as it is
    /// remembered.
    #[inline]
    pub(super) fn goes_from(&self, source: Option<IpAddr>) -> bool {
        source.map_or(!self.by_request, |source| source == self.route.source)
    }

    /// Whether it is reached by a neighbour because a router has said so.
    pub(super) fn goes_by(&self, neighbor: IpAddr) -> bool {
        self.redirect().is_some_and(|redirect| redirect.next_hop == neighbor)
    }

    pub(super) fn path_mtu(&self) -> Option<PathMtu> {
        self.exceptions.as_ref()?.path_mtu
    }

    pub(super) fn redirect(&self) -> Option<Redirect> {
        self.exceptions.as_ref()?.redirect
    }

    pub(super) fn exceptions_mut(&mut self) -> &mut Exceptions {
        self.exceptions.get_or_insert_default()
    }

    pub(super) fn end_redirect(&mut self) {
        if let Some(exceptions) = &mut self.exceptions {
            exceptions.redirect = None;
        }
    }
}
