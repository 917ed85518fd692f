# Models: pretrained here (tiny ones) or fetched, and then fine-tuned, one job a cell.
localrules:
    base_model,


rule pretrain:
    input:
        lambda w: pretraining_corpus(w.model),
    output:
        directory("results/pretrained/{model}"),
    log:
        "results/logs/pretrain/{model}.log",
    conda:
        "../../envs/calgrid.yaml"
    params:
        version=versions.PRETRAIN_VERSION,
        corpus=lambda w: grid.corpus(entry("models", w.model).pretrain.corpus),
        settings=lambda w: pretraining_flags(w.model),
    shell:
        "python $SCRIPTS/pretrain.py --corpus {params.corpus:q} {params.settings:q}"
        " --output {output:q} > {log:q} 2>&1"


# Fetches a model of the Hub to the local cache, checks it before any GPU hour, and records where it lies.
rule base_model:
    input:
        lambda w: source_folder(base_source(w.model)),
    output:
        f"results/models/{BASE_CELL}/base.json",
    log:
        "results/logs/base_model/{model}.log",
    conda:
        "../../envs/calgrid.yaml"
    params:
        files=lambda w: source_files(base_source(w.model)),
        source=lambda w: base_source(w.model).flags(),
    shell:
        "python $SCRIPTS/base_model.py {params.source:q} --output {output:q} > {log:q} 2>&1"


rule train:
    input:
        training_data,
        lambda w: ancient(grid.audit(w.model)),
        base=lambda w: grid.base_record(w.model),
    output:
        weights=directory(f"results/models/{CELL}/model"),
        record=f"results/models/{CELL}/train.json",
    log:
        f"results/logs/train/{CELL}.log",
    conda:
        "../../envs/calgrid.yaml"
    resources:
        batch_tokens=CONFIG.device.train_tokens,
        activation_checkpointing=int(CONFIG.device.activation_checkpointing),
    params:
        version=versions.TRAIN_VERSION,
        data=lambda w: grid.sft_data(w.sft),
        settings=lambda w: settings_flags(CONFIG.training),
    shell:
        "python $SCRIPTS/train.py --base {input.base:q} --data {params.data:q}"
        " --smoothing {wildcards.smoothing} --lr {wildcards.lr} --seed {wildcards.seed} {params.settings:q}"
        " --batch-tokens {resources.batch_tokens} --activation-checkpointing {resources.activation_checkpointing}"
        " --weights {output.weights:q} --record {output.record:q} > {log:q} 2>&1"
