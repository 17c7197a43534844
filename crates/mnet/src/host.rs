//! What the API stands on: a stack, or, with the feature `layers`, any IP layers.

/// A stack. It is known which, so that nothing is called in a roundabout way.
#[cfg(not(feature = "layers"))]
pub(crate) type Host = mnet_proto::Stack;

/// A stack, or IP layers.
#[cfg(feature = "layers")]
pub(crate) type Host = dyn crate::layers::Host;
