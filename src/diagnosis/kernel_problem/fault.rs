//! Faults of the kernel and the machine: tasks and CPUs that hang, oopses, broken memory, GPUs.

use super::{Trouble, Verdict};
use crate::{
    findings::Subject,
    inventory::Inventory,
    model::{Attribution, Blame, Confidence, Scope},
    parse::kernel_problem::ProblemClass,
};

/// What a fault comes to.
pub fn explain(trouble: &Trouble, class: ProblemClass, inventory: &Inventory) -> Verdict {
    let subjects: Vec<Subject> = trouble
        .containers
        .iter()
        .map(|id| inventory.subject(inventory.container(id).and_then(|known| known.pod.as_ref()), Some(id)))
        .collect();
    let attribution = if subjects.is_empty() { Attribution::None } else { Attribution::PidCache };
    // A task may hang on storage that is broken for every node, so its hanging alone accuses nobody.
    let hangs = class == ProblemClass::HungTask;
    let times = match trouble.count() {
        0 | 1 => String::new(),
        count => format!(" ({count} reports)"),
    };
    Verdict {
        confidence: Confidence::Proven,
        scope: Scope::Node,
        blame: if hangs { Blame::Insufficient } else { Blame::Node },
        summary: format!("{}: {}{times}.", headline(class), trouble.said),
        subjects,
        evidence: trouble.evidence("the kernel's own report"),
        not_found: if hangs { vec!["what it waits for: most often a disk or a network filesystem".into()] } else { vec![] },
        actions: vec![action(class).into()],
        attribution,
    }
}

const fn headline(class: ProblemClass) -> &'static str {
    match class {
        ProblemClass::HungTask => "A task hangs in the kernel",
        ProblemClass::SoftLockup | ProblemClass::HardLockup | ProblemClass::RcuStall => "A CPU is stuck",
        ProblemClass::MachineCheck | ProblemClass::MemoryFailure => "The memory or a CPU of this machine is faulty",
        ProblemClass::PcieError | ProblemClass::GpuError => "A device of this machine is faulty",
        ProblemClass::Overheated => "This machine is too hot",
        _ => "The kernel met an error of its own",
    }
}

const fn action(class: ProblemClass) -> &'static str {
    match class {
        ProblemClass::HungTask => "Look at the task's stack (/proc/<pid>/stack) and at the storage under it, network filesystems included.",
        ProblemClass::SoftLockup | ProblemClass::HardLockup | ProblemClass::RcuStall => {
            "On a virtual machine look for stolen CPU time on its host; else update the kernel and the drivers that the trace names."
        }
        ProblemClass::MachineCheck | ProblemClass::MemoryFailure | ProblemClass::PcieError => {
            "Drain the node and have its hardware tested and replaced."
        }
        ProblemClass::GpuError => "Drain the node's GPU pods, reset or replace the card; the driver's manual explains the number.",
        ProblemClass::Overheated => "Check the machine's cooling.",
        _ => "Drain and restart the node: the kernel's state can no longer be trusted. Keep the trace for a report.",
    }
}
