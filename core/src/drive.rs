//! The driving contract, and the one loop that keeps it.

use nucleus_protocol::time::Time;

/// A state machine of the server: inputs with their time go in, outputs come out.
pub trait Machine {
    /// What it takes.
    type Input;
    /// What it wants done.
    type Output;
    /// The input that says only that time has passed.
    const TIMEOUT: Self::Input;

    /// Takes an input at `now`. Times must not run backwards.
    fn handle(&mut self, now: Time, input: Self::Input);

    /// The next output, in the order in which they are to be carried out.
    fn poll(&mut self) -> Option<Self::Output>;

    /// When [`Self::TIMEOUT`] is wanted; `None`: not before the next input.
    fn deadline(&self) -> Option<Time>;

    /// The machine has nothing left to do, and may be dropped once its outputs are carried out.
    fn is_over(&self) -> bool;
}

/// What surrounds a machine: its mailbox, its clock, and whoever its outputs are for.
#[expect(async_fn_in_trait, reason = "a task needs Send futures, a simulation can't have them")]
pub trait Shell<M: Machine> {
    /// The time now.
    fn now(&self) -> Time;

    /// Waits for inputs or for `deadline`, whichever comes first, and appends the inputs. False: no
    /// input can come any more, and the loop ends.
    async fn wait(&mut self, deadline: Option<Time>, inputs: &mut Vec<M::Input>) -> bool;

    /// Carries an output out. Its outcome, where the machine waits for one, is an input.
    async fn carry_out(&mut self, output: M::Output) -> Option<M::Input>;

    /// Called when the machine is over. False: somebody still needs it, and the loop goes on.
    fn may_end(&mut self) -> bool {
        true
    }
}

/// Runs a machine until it is over.
pub async fn drive<M: Machine>(machine: &mut M, shell: &mut impl Shell<M>) {
    let mut inputs = Vec::new();
    while shell.wait(machine.deadline(), &mut inputs).await {
        // All outputs of an input are carried out before the next input is taken, so the machine
        // never keeps the outputs of more than one input and its outcomes.
        for input in inputs.drain(..).chain([M::TIMEOUT]) {
            machine.handle(shell.now(), input);
            while let Some(output) = machine.poll() {
                if let Some(outcome) = shell.carry_out(output).await {
                    machine.handle(shell.now(), outcome);
                }
            }
        }
        if machine.is_over() && shell.may_end() {
            return;
        }
    }
}
