"""Repairs of fairseq for the versions of torch and Python that people have today.

:func:`apply` runs when the package is imported, which fairseq does early: ``--user-dir`` is
imported before the command line is parsed, before a checkpoint is read, and again in every
worker process.  Each repair is one function; its docstring says what breaks without it and
which version of fairseq or torch makes it unnecessary.  A repair whose fault is absent does
nothing.  None changes what a model computes; :func:`batches.keep_last_batch` and
:func:`batches.keep_batches_across_resume` change which sentences a run sees, and
:func:`run_state.keep_run_state` and :func:`run_state.leave_finished_training_alone` when a
run that is started again ends.
"""

from __future__ import annotations

from lrdrop_fairseq.compat import (
    batches,
    checkpoint_contents,
    checkpoint_use,
    checkpoints,
    data_files,
    distributed,
    generation,
    lazy_data,
    literals,
    mbart,
    mixed_precision,
    numpy_names,
    options,
    refusals,
    run_state,
    saving,
    schedules,
    sentence_prediction,
    unknown_models,
    validation,
    vocabulary,
)


def apply() -> None:
    """Make every repair.  Calling it again changes nothing."""
    checkpoints.allow_checkpoint_classes()
    checkpoints.allow_broadcast_classes()
    checkpoint_contents.check_checkpoints()
    vocabulary.refuse_another_preparation()
    vocabulary.save_dictionary_identities()
    vocabulary.train_on_the_dictionary_of_the_checkpoint()
    vocabulary.use_models_with_their_dictionary()
    checkpoint_use.name_the_checkpoint()  # of what the one before says, too
    checkpoint_use.refuse_a_restore_file_that_is_not_there()
    checkpoint_use.begin_the_moving_average_that_is_not_there()
    checkpoint_use.say_what_a_resumed_training_lacks()
    checkpoint_use.build_meters_alone()
    checkpoint_use.quote_the_names_of_fasta_files()
    literals.evaluate_literals_alone()
    distributed.start_processes_without_gpus()  # so that its refusals are sentences
    refusals.end_with_a_sentence()
    numpy_names.keep_older_numpy_names()
    options.keep_bf16_off_the_tpu()
    lazy_data.read_what_was_not_prefetched()
    batches.keep_last_batch()
    batches.keep_batches_across_resume()
    checkpoints.copy_checkpoints_aside()
    mixed_precision.keep_mixed_precision_state()
    distributed.follow_torchrun()
    distributed.name_no_device_to_ddp_on_the_cpu()
    sentence_prediction.gather_predictions_of_sentences()
    distributed.gather_lists_on_the_cpu()
    saving.begin_each_attempt_anew()
    schedules.keep_plateau()
    run_state.keep_run_state()
    generation.replace_unk_without_a_file()
    generation.find_the_source_of_unk()
    generation.keep_overlap_of_diverse_beams()
    run_state.leave_finished_training_alone()
    saving.hold_save_dir()
    mbart.give_the_task_its_args()
    mbart.find_the_names_of_subsets()
    validation.skip_batches_that_are_not_there()
    validation.take_the_task_of_the_checkpoint()
    unknown_models.name_the_architecture()
    data_files.refuse_cut_data_files()
    data_files.refuse_half_of_data()
    data_files.say_what_is_too_long()
