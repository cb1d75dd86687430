//! [`Job`]: the job object that holds a tree. Every process that a member starts is born in it.
//!
//! The handle is the only one, and is not inherited. While the job is to die with its owner, the system ends all
//! members when that handle is closed, by whatever ends the caller.
#![expect(unsafe_code, reason = "calls of the system on a job")]

use super::held::{Held, done, owned};
use crate::id::Pid;
use crate::limits::{LimitError, Limits, Resource};
use crate::usage::{Reading, Source, Usage};
use std::ffi::c_void;
use std::io;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use windows_sys::Win32::Foundation::{ERROR_MORE_DATA, HANDLE};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, IsProcessInJob, JOB_OBJECT_CPU_RATE_CONTROL_ENABLE,
    JOB_OBJECT_CPU_RATE_CONTROL_HARD_CAP, JOB_OBJECT_LIMIT_ACTIVE_PROCESS,
    JOB_OBJECT_LIMIT_JOB_MEMORY, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOBOBJECT_BASIC_AND_IO_ACCOUNTING_INFORMATION, JOBOBJECT_BASIC_PROCESS_ID_LIST,
    JOBOBJECT_CPU_RATE_CONTROL_INFORMATION, JOBOBJECT_CPU_RATE_CONTROL_INFORMATION_0,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JOBOBJECTINFOCLASS,
    JobObjectBasicAndIoAccountingInformation, JobObjectBasicProcessIdList,
    JobObjectCpuRateControlInformation, JobObjectExtendedLimitInformation,
    QueryInformationJobObject, SetInformationJobObject, TerminateJobObject,
};
use windows_sys::Win32::System::Threading::{ALL_PROCESSOR_GROUPS, GetActiveProcessorCount};

/// How many members are asked for at first; more are asked for if there are more.
const SOME_MEMBERS: usize = 64;
/// The whole of the machine, in the unit of the rate control of a job.
const WHOLE: u64 = 10_000;

/// The job of a tree.
pub(super) struct Job {
    handle: OwnedHandle,
    /// What was set: the system takes all of it at a time.
    settings: Mutex<JOBOBJECT_EXTENDED_LIMIT_INFORMATION>,
}

impl Job {
    /// A job without a member. With `dies`, its members end with the last handle of it.
    pub(super) fn new(dies: bool) -> io::Result<Self> {
        // SAFETY: no attributes, so that no child inherits the handle, and no name are valid arguments.
        let raw = unsafe { CreateJobObjectW(std::ptr::null(), std::ptr::null()) };
        let job = Self { handle: owned(raw)?, settings: Mutex::default() };
        if dies {
            job.let_die()?;
        }
        Ok(job)
    }

    /// Ends the members with the last handle, from now on.
    pub(super) fn let_die(&self) -> io::Result<()> {
        self.change(|settings| {
            settings.BasicLimitInformation.LimitFlags |= JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
        })
    }

    /// Sets every limit that was given.
    pub(super) fn limit(&self, limits: &Limits) -> Result<(), LimitError> {
        for (resource, value) in limits.given() {
            if value == 0 {
                return Err(LimitError::Zero(resource));
            }
            let set = match resource {
                Resource::Cpu => self.limit_cpu(value),
                Resource::Memory => self.change(|settings| {
                    settings.BasicLimitInformation.LimitFlags |= JOB_OBJECT_LIMIT_JOB_MEMORY;
                    settings.JobMemoryLimit = usize::try_from(value).unwrap_or(usize::MAX);
                }),
                Resource::Tasks => self.change(|settings| {
                    let basic = &mut settings.BasicLimitInformation;
                    basic.LimitFlags |= JOB_OBJECT_LIMIT_ACTIVE_PROCESS;
                    basic.ActiveProcessLimit = u32::try_from(value).unwrap_or(u32::MAX);
                }),
            };
            set.map_err(|source| LimitError::Refused { resource, value, source })?;
        }
        Ok(())
    }

    fn limit_cpu(&self, thousandths: u64) -> io::Result<()> {
        // SAFETY: the call takes a number alone.
        let processors = unsafe { GetActiveProcessorCount(ALL_PROCESSOR_GROUPS) };
        let rate = cpu_rate(thousandths, processors).ok_or_else(|| {
            let least =
                "it is less than a ten-thousandth of the machine, the least that a job can have";
            io::Error::new(io::ErrorKind::InvalidInput, least)
        })?;
        self.set(
            JobObjectCpuRateControlInformation,
            &JOBOBJECT_CPU_RATE_CONTROL_INFORMATION {
                ControlFlags: JOB_OBJECT_CPU_RATE_CONTROL_ENABLE
                    | JOB_OBJECT_CPU_RATE_CONTROL_HARD_CAP,
                Anonymous: JOBOBJECT_CPU_RATE_CONTROL_INFORMATION_0 { CpuRate: rate },
            },
        )
    }

    /// Lets the members live on when the handle is closed. Limits stay.
    pub(super) fn let_live(&self) -> io::Result<()> {
        self.change(|settings| {
            settings.BasicLimitInformation.LimitFlags &= !JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
        })
    }

    /// Makes the process a member, and with it everything that it starts from then on.
    pub(super) fn assign(&self, process: &Held) -> io::Result<()> {
        // SAFETY: both handles are open.
        done(unsafe { AssignProcessToJobObject(self.raw(), process.raw()) })
    }

    /// Whether the process is a member, or was one until its end.
    pub(super) fn holds(&self, process: &Held) -> io::Result<bool> {
        let mut truth = 0;
        // SAFETY: both handles are open, and `truth` outlives the call.
        done(unsafe { IsProcessInJob(process.raw(), self.raw(), &mut truth) })?;
        Ok(truth != 0)
    }

    /// The numbers of the members that run now.
    pub(super) fn pids(&self) -> io::Result<Vec<Pid>> {
        let mut room = SOME_MEMBERS;
        loop {
            // Two numbers of 32 bits come first, which take one word or two.
            let mut list = vec![0_usize; room + 2];
            let size = size_of_val(list.as_slice()) as u32;
            let to = list.as_mut_ptr().cast::<c_void>();
            // SAFETY: `list` is as large as it is said to be, and aligned for the structure, whose largest part
            // is a word.
            let asked = done(unsafe { self.query_into(JobObjectBasicProcessIdList, to, size) });
            let head = list.as_ptr().cast::<JOBOBJECT_BASIC_PROCESS_ID_LIST>();
            // SAFETY: `list` is longer than the structure, and whatever is in it are valid numbers.
            let head = unsafe { head.read() };
            let (all, listed) =
                (head.NumberOfAssignedProcesses as usize, head.NumberOfProcessIdsInList as usize);
            match asked {
                Err(error) if error.raw_os_error() != Some(ERROR_MORE_DATA as i32) => {
                    return Err(error);
                }
                Ok(()) if all <= listed && listed <= room => {
                    let first =
                        std::mem::offset_of!(JOBOBJECT_BASIC_PROCESS_ID_LIST, ProcessIdList)
                            / size_of::<usize>();
                    let numbers = list.iter().skip(first).take(listed);
                    return Ok(numbers.filter_map(|number| Pid::try_from(*number).ok()).collect());
                }
                // Members were born meanwhile.
                _ => room = all.max(room).saturating_mul(2),
            }
        }
    }

    /// Ends all members, and those of the jobs inside. It does not wait for that.
    pub(super) fn terminate(&self, code: u32) -> io::Result<()> {
        // SAFETY: the handle is open.
        done(unsafe { TerminateJobObject(self.raw(), code) })
    }

    /// What the job has counted. A number that the system does not tell is missing.
    pub(super) fn usage(&self) -> Usage {
        let by = Reading::of(Source::Job);
        let bytes = Reading::of(Source::Job);
        let mut usage = Usage::default();
        let mut count = JOBOBJECT_BASIC_AND_IO_ACCOUNTING_INFORMATION::default();
        if self.query(JobObjectBasicAndIoAccountingInformation, &mut count).is_ok() {
            usage.user = Some(by(time(count.BasicInfo.TotalUserTime)));
            usage.system = Some(by(time(count.BasicInfo.TotalKernelTime)));
            usage.read = Some(bytes(count.IoInfo.ReadTransferCount));
            usage.written = Some(bytes(count.IoInfo.WriteTransferCount));
        }
        if let Ok(pids) = self.pids() {
            usage.tasks = Some(bytes(pids.len() as u64));
        }
        let mut most = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
        // A process has some memory: 0 is what a system says that does not count it.
        if self.query(JobObjectExtendedLimitInformation, &mut most).is_ok()
            && most.PeakJobMemoryUsed > 0
        {
            usage.peak_memory = Some(bytes(most.PeakJobMemoryUsed as u64));
        }
        usage
    }

    fn change(
        &self,
        change: impl FnOnce(&mut JOBOBJECT_EXTENDED_LIMIT_INFORMATION),
    ) -> io::Result<()> {
        let mut settings = self.settings();
        let mut changed = *settings;
        change(&mut changed);
        self.set(JobObjectExtendedLimitInformation, &changed)?;
        *settings = changed;
        Ok(())
    }

    fn settings(&self) -> MutexGuard<'_, JOBOBJECT_EXTENDED_LIMIT_INFORMATION> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set<T>(&self, class: JOBOBJECTINFOCLASS, value: &T) -> io::Result<()> {
        let from = std::ptr::from_ref(value).cast::<c_void>();
        // SAFETY: the handle is open, and `value` is as large as it is said to be. A class that wants another
        // structure has another size, and the call fails.
        done(unsafe { SetInformationJobObject(self.raw(), class, from, size_of::<T>() as u32) })
    }

    /// Reads a structure of plain numbers.
    fn query<T>(&self, class: JOBOBJECTINFOCLASS, value: &mut T) -> io::Result<()> {
        let to = std::ptr::from_mut(value).cast::<c_void>();
        // SAFETY: `value` is as large as it is said to be.
        done(unsafe { self.query_into(class, to, size_of::<T>() as u32) })
    }

    /// # Safety
    ///
    /// The place must take as many bytes as `size` says, and be aligned for the structure of the class.
    unsafe fn query_into(&self, class: JOBOBJECTINFOCLASS, to: *mut c_void, size: u32) -> i32 {
        // SAFETY: the handle is open; the caller answers for the place.
        unsafe { QueryInformationJobObject(self.raw(), class, to, size, std::ptr::null_mut()) }
    }

    fn raw(&self) -> HANDLE {
        self.handle.as_raw_handle()
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("handle", &self.handle).finish_non_exhaustive()
    }
}

/// A number of the system counts tenths of a microsecond.
fn time(tenths: i64) -> Duration {
    let tenths = u64::try_from(tenths).unwrap_or(0);
    Duration::from_micros(tenths / 10) + Duration::from_nanos(tenths % 10 * 100)
}

/// Thousandths of one processor as ten-thousandths of all; `None` for less than one of those.
fn cpu_rate(thousandths: u64, processors: u32) -> Option<u32> {
    let rate = thousandths.saturating_mul(WHOLE) / 1000 / u64::from(processors.max(1));
    u32::try_from(rate.min(WHOLE)).ok().filter(|rate| *rate > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_processors_is_a_part_of_the_machine_and_never_more_than_was_given() {
        assert_eq!(cpu_rate(1_000, 1), Some(10_000));
        assert_eq!(cpu_rate(1_500, 4), Some(3_750));
        assert_eq!(cpu_rate(1, 2), Some(5));
        assert_eq!(cpu_rate(1, 64), None);
        assert_eq!(cpu_rate(u64::MAX, 1), Some(10_000));
        assert_eq!(cpu_rate(500, 0), Some(5_000));
    }

    #[test]
    fn a_time_of_the_system_is_exact_and_one_below_zero_is_none() {
        assert_eq!(time(12_345_678), Duration::from_nanos(1_234_567_800));
        assert_eq!(time(-1), Duration::ZERO);
        assert!(time(i64::MAX) > Duration::from_secs(1));
    }
}
