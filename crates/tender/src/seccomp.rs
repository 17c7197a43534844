//! Filters of system calls: what is not allowed ends the process.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

/// A condition on the argument of this index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// All 64 bits of it are so.
    Is(u8, u64),
    /// All 64 bits of it are no more than that.
    AtMost(u8, u64),
    /// The lower half is so: all that there is of an `int`.
    IsInt(u8, u32),
}

/// Compiles the filter that allows these calls, each with the conditions of which all must hold.
pub(crate) fn filter(allowed: Vec<(i64, Vec<Condition>)>) -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for (call, conditions) in allowed {
        let chain = rules.entry(call).or_default();
        if !conditions.is_empty() {
            let conditions: Result<Vec<_>, _> = conditions.into_iter().map(compile).collect();
            chain.push(SeccompRule::new(conditions?)?);
        }
    }
    // The whole process is killed, at once and without a chance to handle it. Calls of another
    // architecture (32-bit, x32) match nothing.
    SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, TargetArch::x86_64)?
        .try_into()
}

fn compile(condition: Condition) -> Result<SeccompCondition, BackendError> {
    use {SeccompCmpArgLen as Len, SeccompCmpOp as Op};
    let (argument, length, operator, value) = match condition {
        Condition::Is(argument, value) => (argument, Len::Qword, Op::Eq, value),
        Condition::AtMost(argument, value) => (argument, Len::Qword, Op::Le, value),
        Condition::IsInt(argument, value) => (argument, Len::Dword, Op::Eq, value.into()),
    };
    SeccompCondition::new(argument, length, operator, value)
}
