# Scores: one job a cell, benchmark and shard of languages; the model is loaded once for them.
rule score:
    input:
        lambda w: prepared([shard_tokens(w)]),
        lambda w: cell_weights(w),
        lambda w: ancient(paths.audit(w.model)),
        record=record,
    output:
        f"results/scores/benchmark={{benchmark}}/{CELL}/{{shard}}.parquet",
    log:
        f"results/logs/score/benchmark={{benchmark}}/{CELL}/{{shard}}.log",
    benchmark:
        f"results/benchmarks/score/benchmark={{benchmark}}/{CELL}/{{shard}}.tsv"
    conda:
        "../../envs/calgrid.yaml"
    resources:
        mem_mb=lambda w, attempt: attempt * node_memory(w.model),
        runtime=lambda w, attempt: round(attempt * (60 + 90 * billions(w.model))),
        score_tokens=CONFIG.device.score_tokens,
        score_attention=CONFIG.device.score_attention,
    params:
        version=versions.SCORE_VERSION,
        tokens=shard_tokens,
        finished=f"results/checkpoints/scores/benchmark={{benchmark}}/{CELL}/{{shard}}",
    shell:
        "python $SCRIPTS/score_shard.py --model {input.record:q} --tokens {params.tokens:q} --finished {params.finished:q}"
        " --score-tokens {resources.score_tokens} --score-attention {resources.score_attention} --output {output:q} > {log:q} 2>&1"
