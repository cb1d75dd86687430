//! Events for `tracing`, which vanish without the feature.

/// Emits a `tracing` event with the target `lastout_output_stream` when the feature is on.
macro_rules! event {
    ($level:ident, $name:expr, $($rest:tt)*) => {
        #[cfg(feature = "tracing")]
        tracing::event!(
            target: "lastout_output_stream",
            tracing::Level::$level,
            stream = $name.as_deref().unwrap_or(""),
            $($rest)*
        );
        #[cfg(not(feature = "tracing"))]
        let _ = &$name;
    };
}
pub(crate) use event;
