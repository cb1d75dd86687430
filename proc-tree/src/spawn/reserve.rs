//! Room for the descriptors that a program gets.

use crate::error::SpawnError;
use crate::sys::MOST_DESCRIPTORS;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::Arc;

/// Occupies the numbers that the child will use, as far as they are free here.
pub(super) fn reserve(descriptors: &[(RawFd, Arc<OwnedFd>)]) -> Result<Vec<OwnedFd>, SpawnError> {
    let mut reserved = Vec::new();
    let refused = |number, why| {
        let source = io::Error::new(io::ErrorKind::InvalidInput, why);
        Err(SpawnError::Descriptor { number, source })
    };
    if descriptors.len() > MOST_DESCRIPTORS {
        return refused(descriptors[MOST_DESCRIPTORS].0, "too many descriptors");
    }
    for (place, (number, descriptor)) in descriptors.iter().enumerate() {
        if descriptors[..place].iter().any(|(other, _)| other == number) {
            return refused(*number, "two descriptors for one number");
        }
        let taken = crate::sys::occupy(*number, descriptor);
        match taken {
            Ok(placeholder) => reserved.extend(placeholder),
            Err(source) => {
                let number = *number;
                return Err(SpawnError::Descriptor { number, source });
            }
        }
    }
    Ok(reserved)
}
