//! `World`: a value that all tasks of a thread work on, lent to one of them at a time.

use crate::handle::Handle;
use crate::runtime::Runtime;
use std::any::TypeId;
use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::rc::Rc;

/// Owns a value that tasks borrow through a [`WorldCtx`].
///
/// ```
/// use lastout_async_rt::{Runtime, World, WorldCtx, spawn_boxed};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let world = World::new(vec![1]);
/// let runtime = Runtime::new()?;
/// runtime.provide(&world);
/// runtime.block_on(async {
///     spawn_boxed(async { WorldCtx::<Vec<i32>>::current().with(|list| list.push(2)) }).await
/// })?;
/// drop(runtime);
/// assert_eq!(world.into_inner().unwrap(), [1, 2]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct World<W> {
    value: Rc<RefCell<W>>,
}

impl<W: 'static> World<W> {
    /// Owns `value`.
    pub fn new(value: W) -> Self {
        Self { value: Rc::new(RefCell::new(value)) }
    }

    /// A context that lends the value.
    pub fn ctx(&self) -> WorldCtx<W> {
        WorldCtx { value: Rc::clone(&self.value) }
    }

    /// The value, when no context is left.
    ///
    /// # Errors
    /// The world, when contexts are left; a runtime that was given it holds one until its end.
    pub fn into_inner(self) -> Result<W, Self> {
        match Rc::try_unwrap(self.value) {
            Ok(value) => Ok(value.into_inner()),
            Err(value) => Err(Self { value }),
        }
    }
}

/// The value is lent already: the call is inside another `with`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorldBusy;

impl fmt::Display for WorldBusy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the world is borrowed already, by a call further up")
    }
}

impl Error for WorldBusy {}

/// Lends the value of a [`World`], for the time of a closure. Cheap to clone.
#[derive(Debug)]
pub struct WorldCtx<W> {
    value: Rc<RefCell<W>>,
}

impl<W> Clone for WorldCtx<W> {
    fn clone(&self) -> Self {
        Self { value: Rc::clone(&self.value) }
    }
}

impl<W: 'static> WorldCtx<W> {
    /// The context of the world of this type that this thread's runtime was given.
    ///
    /// # Panics
    /// Outside a runtime, and in one without such a world.
    #[track_caller]
    pub fn current() -> Self {
        let handle = Handle::current();
        let world = handle.owner.worlds.borrow().get(&TypeId::of::<W>()).cloned();
        let world = world.and_then(|any| any.downcast::<RefCell<W>>().ok());
        Self {
            value: world.expect("this runtime was not given a world of this type: `provide` one"),
        }
    }

    /// Lends the value to `work`.
    ///
    /// # Panics
    /// Inside another `with` of the same world.
    #[track_caller]
    pub fn with<R>(&self, work: impl FnOnce(&mut W) -> R) -> R {
        match self.try_with(work) {
            Ok(result) => result,
            Err(busy) => panic!("{busy}"),
        }
    }

    /// Lends the value to `work`, unless it is lent.
    ///
    /// # Errors
    /// Inside another `with` of the same world; `work` is not called.
    pub fn try_with<R>(&self, work: impl FnOnce(&mut W) -> R) -> Result<R, WorldBusy> {
        let mut value = self.value.try_borrow_mut().map_err(|_| WorldBusy)?;
        Ok(work(&mut value))
    }
}

impl Runtime {
    /// Gives the runtime's tasks a world, for [`WorldCtx::current`]; one for each type. The runtime
    /// lets go of it when it ends.
    pub fn provide<W: 'static>(&self, world: &World<W>) {
        let before = self
            .handle()
            .owner
            .worlds
            .borrow_mut()
            .insert(TypeId::of::<W>(), Rc::clone(&world.value) as Rc<dyn std::any::Any>);
        drop(before);
    }
}
