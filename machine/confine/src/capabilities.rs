//! Capabilities (capabilities(7)) and `no_new_privs`.

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};

use crate::{ConfineError, Holds};

fn refused(attempt: &'static str) -> impl Fn(Errno) -> ConfineError {
    move |errno| ConfineError::Refused { attempt, errno }
}

/// From now on no program that the thread executes has more rights than the thread.
pub(crate) fn no_new_privileges() -> Result<Holds, ConfineError> {
    set_no_new_privs(true).map_err(refused("set no_new_privs"))?;
    Ok(Holds::Held)
}

/// Gives up every capability but these: in the bounding set too, where the thread may still change that.
pub(crate) fn reduce_to(keep: CapabilitySet) -> Result<Holds, ConfineError> {
    clear_ambient_capability_set().map_err(refused("clear the ambient capabilities"))?;
    let has = capabilities(None).map_err(refused("read the capabilities"))?;
    // Who may not lower it (no CAP_SETPCAP) cannot use it either: no_new_privs holds already.
    if has.effective.contains(CapabilitySet::SETPCAP) {
        for capability in CapabilitySet::all().iter().filter(|one| !keep.contains(*one)) {
            match remove_capability_from_bounding_set(capability) {
                // One that this kernel does not know.
                Ok(()) | Err(Errno::INVAL) => {}
                Err(errno) => return Err(refused("lower the bounding set of capabilities")(errno)),
            }
        }
    }
    let left = has.permitted & keep;
    let sets = CapabilitySets { effective: left, permitted: left, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(refused("give up the capabilities"))?;
    Ok(Holds::Held)
}

/// Lets a program that this thread executes have those of `wanted` that the thread has itself, whatever user it runs as.
/// To be taken back with [`CapabilitySet::empty`]. Returns which those are.
///
/// # Errors
/// The kernel refuses.
pub fn inherit(wanted: CapabilitySet) -> Result<CapabilitySet, ConfineError> {
    let attempt = "pass capabilities on to the monitor";
    clear_ambient_capability_set().map_err(refused(attempt))?;
    let has = capabilities(None).map_err(refused(attempt))?;
    let passed = has.permitted & wanted;
    set_capabilities(None, CapabilitySets { inheritable: passed, ..has }).map_err(refused(attempt))?;
    for capability in passed.iter() {
        configure_capability_in_ambient_set(capability, true).map_err(refused(attempt))?;
    }
    Ok(passed)
}

/// Does something with no capability in effect, as a confined thread will: what it cannot read now it could not read
/// then.
///
/// # Errors
/// The kernel refuses to take the capabilities away or to give them back.
pub fn suspend<T>(act: impl FnOnce() -> T) -> Result<T, ConfineError> {
    let attempt = "do without capabilities for a while";
    let has = capabilities(None).map_err(refused(attempt))?;
    let without = CapabilitySets { effective: CapabilitySet::empty(), ..has };
    set_capabilities(None, without).map_err(refused(attempt))?;
    let result = act();
    set_capabilities(None, has).map_err(refused(attempt))?;
    Ok(result)
}
