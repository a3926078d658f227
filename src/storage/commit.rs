//! One changing operation from its first byte to its answer: which step comes next, what is
//! undone when a step fails, and who is told.
//!
//! Pure: `disk`, `binlog` and `service` perform the steps and report back. The only maker of
//! [`Durable`], without which no success answer to a changing command can be written. Never
//! performs anything itself and never lets a failed sync be tried again.

/// Proof that an operation has passed all of its steps. Only this module can make one.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an operation that is durable still has to be answered"]
pub struct Durable {
    _only_made_here: (),
}

/// What the setting `durability` asks for before an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Content, names and log record are synced: the answer survives power loss.
    Full,
    /// They are in the kernel: the answer survives the death of the process.
    Os,
}

/// How an operation changes the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new file under a new name: uploads.
    Create,
    /// A new content for an existing name, whole: metadata.
    Replace,
    /// Bytes of an existing file: append, modify. They are received into a note that a restart
    /// would act on, so that the edit happens wholly or not at all.
    Edit,
    /// The length of an existing file: truncate.
    Resize,
    /// Another name for an existing file, content untouched: regenerate.
    Rename,
    /// Names taken away: delete.
    Remove,
}

/// A step, in the order in which they follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Receive and write the content.
    Write,
    /// Sync the content.
    SyncData,
    /// Change the names.
    Name,
    /// Sync the directories whose names changed.
    SyncDir,
    /// Do to the existing file what was prepared, and sync it with [`Durability::Full`].
    Apply,
    /// Append the record to the binlog and, with [`Durability::Full`], wait for its sync.
    Log,
    /// Remove the note of an edit, so that no restart repeats it over a later one.
    Forget,
}

/// What the shell has to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    Do(Step),
    Answer(Durable),
}

/// Why a step did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The disk refused or could not do it.
    Disk,
    /// A sync failed: nobody knows any more what the disk holds.
    Sync,
    /// The client went away or stopped sending.
    Gone,
}

/// How the store gets back to where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undo {
    /// Nothing is visible: remove the temporary file, if one was made.
    DropTemporary,
    /// Remove the name that was just made, so that an unanswered file does not stay.
    RemoveName,
    /// What happened cannot be taken back; the client is told that it may have happened.
    Nothing,
}

/// Who must not be written to again before a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retire {
    Nobody,
    /// The store path of this operation.
    Path,
    /// The binlog, and with it every changing operation.
    Log,
}

/// The end of an operation that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    pub undo: Undo,
    pub retire: Retire,
}

/// An operation on its way.
///
/// ```text
///            full                                   os
/// Create     Write SyncData Name SyncDir Log        Write Name Log
/// Replace    Write SyncData Name SyncDir Log        Write Name Log
/// Edit       Write SyncData Name SyncDir Apply Log Forget
///                                                   Write Name Apply Log Forget
/// Resize     Apply Log                              Apply Log
/// Rename     Name SyncDir Log                       Name Log
/// Remove     Name SyncDir Log                       Name Log
/// ```
#[derive(Debug)]
pub struct Commit {
    change: Change,
    durability: Durability,
    at: Option<Step>,
}

impl Commit {
    pub fn new(change: Change, durability: Durability) -> Self {
        let first = match change {
            Change::Create | Change::Replace | Change::Edit => Step::Write,
            Change::Resize => Step::Apply,
            Change::Rename | Change::Remove => Step::Name,
        };
        Self { change, durability, at: Some(first) }
    }

    /// The step to perform now; `None` after the end.
    pub fn step(&self) -> Option<Step> {
        self.at
    }

    /// The current step is done: what now?
    ///
    /// # Panics
    /// When called after the end: an operation cannot be answered twice.
    pub fn done(&mut self) -> Next {
        let at = self.at.expect("a finished operation reports no further step");
        let next = self.after(at);
        self.at = next;
        match next {
            Some(step) => Next::Do(step),
            None => Next::Answer(Durable { _only_made_here: () }),
        }
    }

    /// The current step failed. The operation is over.
    pub fn failed(mut self, fault: Fault) -> Failure {
        let at = self.at.take().unwrap_or(Step::Log);
        // The note of an edit that has begun is completed by a restart; before that nobody may
        // change the file, or the restart would undo it.
        let half_edited = self.change == Change::Edit && Step::Apply <= at;
        let retire = match (fault, at) {
            (Fault::Sync, Step::Log) => Retire::Log,
            (Fault::Sync, _) => Retire::Path,
            (Fault::Disk | Fault::Gone, _) if half_edited => Retire::Path,
            (Fault::Disk | Fault::Gone, _) => Retire::Nobody,
        };
        Failure { undo: self.undo(at), retire }
    }

    fn after(&self, at: Step) -> Option<Step> {
        let full = self.durability == Durability::Full;
        let edit = self.change == Change::Edit;
        match at {
            Step::Write if full => Some(Step::SyncData),
            Step::Write | Step::SyncData => Some(Step::Name),
            Step::Name if full => Some(Step::SyncDir),
            Step::Name | Step::SyncDir if edit => Some(Step::Apply),
            Step::Name | Step::SyncDir | Step::Apply => Some(Step::Log),
            Step::Log if edit => Some(Step::Forget),
            Step::Log | Step::Forget => None,
        }
    }

    fn undo(&self, at: Step) -> Undo {
        match (self.change, at) {
            (change, at) if change != Change::Resize && at <= Step::Name => Undo::DropTemporary,
            (Change::Create, _) | (Change::Edit, Step::SyncDir) => Undo::RemoveName,
            _ => Undo::Nothing,
        }
    }
}

/// An operation that found nothing to change, for example a delete of metadata that is not
/// there: its answer promises nothing that a crash could break.
pub fn nothing_to_do() -> Durable {
    Durable { _only_made_here: () }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(change: Change, durability: Durability) -> Vec<Step> {
        let mut commit = Commit::new(change, durability);
        let mut seen = vec![commit.step().unwrap()];
        loop {
            match commit.done() {
                Next::Do(step) => seen.push(step),
                Next::Answer(_) => return seen,
            }
        }
    }

    #[test]
    fn full_durability_syncs_before_each_thing_that_relies_on_it() {
        use Step::{Apply, Forget, Log, Name, SyncData, SyncDir, Write};
        let full = |change| steps(change, Durability::Full);
        assert_eq!(full(Change::Create), [Write, SyncData, Name, SyncDir, Log]);
        assert_eq!(full(Change::Replace), [Write, SyncData, Name, SyncDir, Log]);
        let edit = [Write, SyncData, Name, SyncDir, Apply, Log, Forget];
        assert_eq!(full(Change::Edit), edit);
        assert_eq!(full(Change::Resize), [Apply, Log]);
        assert_eq!(full(Change::Rename), [Name, SyncDir, Log]);
        assert_eq!(full(Change::Remove), [Name, SyncDir, Log]);
    }

    #[test]
    fn os_durability_leaves_only_the_syncs_out() {
        let all = [Change::Create, Change::Replace, Change::Edit, Change::Rename];
        for change in all.into_iter().chain([Change::Resize, Change::Remove]) {
            let mut full = steps(change, Durability::Full);
            full.retain(|step| !matches!(step, Step::SyncData | Step::SyncDir));
            assert_eq!(full, steps(change, Durability::Os), "{change:?}");
        }
    }

    /// Runs `change` up to `step` and lets that fail.
    fn fail_at(change: Change, step: Step, fault: Fault) -> Failure {
        let mut commit = Commit::new(change, Durability::Full);
        while commit.step() != Some(step) {
            assert!(matches!(commit.done(), Next::Do(_)), "{change:?} has no {step:?}");
        }
        commit.failed(fault)
    }

    #[test]
    fn failures_undo_what_can_be_undone() {
        let check = |change, step, undo| {
            assert_eq!(fail_at(change, step, Fault::Disk).undo, undo, "{change:?} {step:?}");
        };
        check(Change::Create, Step::Write, Undo::DropTemporary);
        check(Change::Create, Step::SyncData, Undo::DropTemporary);
        check(Change::Create, Step::Name, Undo::DropTemporary);
        check(Change::Create, Step::SyncDir, Undo::RemoveName);
        check(Change::Create, Step::Log, Undo::RemoveName);
        check(Change::Replace, Step::Name, Undo::DropTemporary);
        check(Change::Replace, Step::Log, Undo::Nothing);
        check(Change::Edit, Step::Write, Undo::DropTemporary);
        check(Change::Edit, Step::SyncDir, Undo::RemoveName);
        check(Change::Edit, Step::Apply, Undo::Nothing);
        check(Change::Edit, Step::Log, Undo::Nothing);
        check(Change::Remove, Step::Name, Undo::DropTemporary);
        check(Change::Remove, Step::SyncDir, Undo::Nothing);
        check(Change::Remove, Step::Log, Undo::Nothing);
        check(Change::Rename, Step::Name, Undo::DropTemporary);
        check(Change::Rename, Step::SyncDir, Undo::Nothing);
        check(Change::Resize, Step::Apply, Undo::Nothing);
    }

    #[test]
    fn a_half_done_edit_waits_for_a_restart() {
        for step in [Step::Apply, Step::Log, Step::Forget] {
            assert_eq!(fail_at(Change::Edit, step, Fault::Disk).retire, Retire::Path, "{step:?}");
        }
        assert_eq!(fail_at(Change::Edit, Step::Name, Fault::Disk).retire, Retire::Nobody);
        assert_eq!(fail_at(Change::Resize, Step::Apply, Fault::Disk).retire, Retire::Nobody);
    }

    #[test]
    fn a_failed_sync_retires_what_it_belongs_to() {
        let check = |step, fault, retire| {
            assert_eq!(fail_at(Change::Create, step, fault).retire, retire, "{step:?} {fault:?}");
        };
        check(Step::SyncData, Fault::Sync, Retire::Path);
        check(Step::SyncDir, Fault::Sync, Retire::Path);
        check(Step::Write, Fault::Sync, Retire::Path); // an early sync of a large upload
        check(Step::Log, Fault::Sync, Retire::Log);
        check(Step::Log, Fault::Disk, Retire::Nobody);
        check(Step::Write, Fault::Gone, Retire::Nobody);
    }
}
