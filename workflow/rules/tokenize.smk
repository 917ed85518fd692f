# Tokens: each shard of a benchmark as a base model reads it, audited. First in line: it costs no GPU, and what is wrong
# with the questions or the prompt shows here.
rule tokenize:
    input:
        lambda w: prepared(shard_data(w.benchmark, w.shard).values()),
        lambda w: prepared(shard_examples(w.benchmark, w.shard).values()),
        model=lambda w: grid.base_record(w.model),
    output:
        tokens="results/tokens/benchmark={benchmark}/model={model}/{shard}.parquet",
        manifest="results/tokens/benchmark={benchmark}/model={model}/{shard}.json",
    log:
        "results/logs/tokenize/benchmark={benchmark}/model={model}/{shard}.log",
    priority: 10
    conda:
        "../../envs/calgrid.yaml"
    resources:
        audit=" ".join(f"{name}={share}" for name, share in CONFIG.audit),
    params:
        version=versions.TOKENIZE_VERSION,
        questions=lambda w: pairs(shard_data(w.benchmark, w.shard)),
        examples=lambda w: pairs(shard_examples(w.benchmark, w.shard)),
        answer_words=lambda w: pairs(shard_answer_words(w.benchmark, w.shard)),
        settings=lambda w: prompting_flags(),
    shell:
        "python $SCRIPTS/tokenize_benchmark.py --model {input.model:q} --benchmark {wildcards.benchmark:q}"
        " --questions {params.questions:q} --examples {params.examples:q} --answer-words {params.answer_words:q}"
        " {params.settings:q} --audit {resources.audit} --output {output.tokens:q} --manifest {output.manifest:q} > {log:q} 2>&1"
