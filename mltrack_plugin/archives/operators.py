"""The operators that a network in an archive may use: those that compute, and nothing else.

The names are torch's own (``aten``). Left out is all that reads or writes files, reaches other processes, prints, draws
random numbers, changes what a tensor's memory is, or serves training and quantisation only.
"""

from __future__ import annotations

_ELEMENTWISE = """
abs absolute acos acosh add addcdiv addcmul angle arccos arccosh arcsin arcsinh arctan arctan2 arctanh asin asinh atan
atan2 atanh bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor bucketize ceil celu
clamp clamp_max clamp_min clip copysign cos cosh deg2rad digamma div divide dropout alpha_dropout feature_dropout elu
eq erf erfc erfinv exp exp2 expm1 fix float_power floor floor_divide fmax fmin fmod frac frexp gcd ge gelu glu greater
greater_equal gt hardshrink hardsigmoid hardswish hardtanh heaviside hypot i0 isclose isfinite isin isinf isnan
isneginf isposinf isreal lcm ldexp le leaky_relu lerp less less_equal lgamma log log10 log1p log2 log_sigmoid
logaddexp logaddexp2 logical_and logical_not logical_or logical_xor logit lt masked_fill maximum minimum mish mul
multiply nan_to_num native_dropout ne neg negative nextafter not_equal polar positive pow prelu rad2deg reciprocal
relu relu6 remainder round rrelu rsqrt rsub selu sgn sigmoid sign signbit silu sin sinc sinh softplus softshrink
special_erf special_erfc special_expit special_expm1 special_log1p special_log_softmax special_logit special_logsumexp
special_ndtr special_softmax special_xlog1py special_xlogy sqrt square sub subtract tan tanh threshold true_divide
trunc where xlogy
"""
_REDUCTIONS = """
all allclose amax amin aminmax any argmax argmin bincount count_nonzero cummax cummin cumprod cumsum diff dist equal
histc kthvalue log_softmax logcumsumexp logsumexp max mean median min mode msort nanmean nanmedian nansum norm nonzero
numel prod quantile searchsorted segment_reduce softmax sort argsort std std_mean sum topk trace trapezoid trapz
unique_consecutive unique_dim _unique2 var var_mean _log_softmax _softmax _safe_softmax cosine_similarity
linalg_vector_norm linalg_norm linalg_matrix_norm pairwise_distance cdist _cdist_forward _euclidean_dist
"""
_LAYOUT = """
alias atleast_1d atleast_2d atleast_3d block_diag broadcast_tensors broadcast_to cartesian_prod cat chunk clone
column_stack concat concatenate constant_pad_nd contiguous copy copy_ detach diag diag_embed diagonal dsplit dstack
expand expand_as fill fill_diagonal flatten flip fliplr flipud gather hsplit hstack index index_add index_copy
index_fill index_put index_reduce index_select lift_fresh lift_fresh_copy mT masked_scatter masked_select matrix_H
meshgrid moveaxis movedim narrow narrow_copy numpy_T nonzero_numpy one_hot pad pad_sequence permute pixel_shuffle
pixel_unshuffle put ravel repeat repeat_interleave reshape reshape_as roll rot90 row_stack scatter scatter_add
scatter_reduce select select_scatter size slice slice_scatter split split_with_sizes squeeze stack swapaxes swapdims t
take take_along_dim tensor_split tile transpose tril triu type_as unbind unflatten unfold unsafe_chunk unsafe_split
unsafe_split_with_sizes unsqueeze view view_as view_as_complex view_as_real vsplit vstack zero _reshape_alias
_unsafe_view _unsafe_index _unsafe_masked_index _index_put_impl _shape_as_tensor
"""
_PRODUCTS = """
addbmm addmm addmv addr baddbmm bilinear bmm chain_matmul cross det dot einsum inner inverse kron linalg_cholesky
linalg_cross linalg_det linalg_eigh linalg_eigvalsh linalg_inv linalg_lstsq linalg_matmul linalg_matrix_power
linalg_multi_dot linalg_pinv linalg_qr linalg_slogdet linalg_solve linalg_solve_triangular linalg_svd linalg_vecdot
linear matmul matrix_power mm mv outer pinverse tensordot vdot
"""
_LAYERS = """
_adaptive_avg_pool2d _adaptive_avg_pool3d _convolution _convolution_mode _embedding_bag _embedding_bag_forward_only
_native_batch_norm_legit_no_training _pack_padded_sequence _pad_packed_sequence _scaled_dot_product_attention_math
_scaled_dot_product_flash_attention_for_cpu _nested_tensor_from_mask _nested_tensor_from_mask_left_aligned
_native_multi_head_attention _transformer_encoder_layer_fwd _upsample_bicubic2d_aa _upsample_bilinear2d_aa
_upsample_lanczos2d_aa _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d
adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d
adaptive_max_pool3d affine_grid_generator avg_pool1d avg_pool2d avg_pool3d batch_norm channel_shuffle col2im conv1d
conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution embedding embedding_bag grid_sampler
grid_sampler_2d grid_sampler_3d group_norm gru gru_cell im2col instance_norm layer_norm lstm lstm_cell max_pool1d
max_pool1d_with_indices max_pool2d max_pool2d_with_indices max_pool3d max_pool3d_with_indices native_batch_norm
native_group_norm native_layer_norm reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d
replication_pad2d replication_pad3d rms_norm rnn_relu rnn_relu_cell rnn_tanh rnn_tanh_cell
scaled_dot_product_attention upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d
upsample_nearest2d upsample_nearest3d upsample_trilinear3d
"""
#: Networks keep their losses, and torch's own layers ask for what they then do not use.
_LOSSES = """
binary_cross_entropy binary_cross_entropy_with_logits cosine_embedding_loss cross_entropy_loss ctc_loss
hinge_embedding_loss huber_loss kl_div l1_loss margin_ranking_loss mse_loss multi_margin_loss multilabel_margin_loss
nll_loss nll_loss_nd nll_loss2d poisson_nll_loss smooth_l1_loss soft_margin_loss triplet_margin_loss
"""
_FOURIER = """
fft_fft fft_fft2 fft_fftfreq fft_fftn fft_fftshift fft_ifft fft_ifft2 fft_ifftn fft_ifftshift fft_irfft fft_irfft2
fft_irfftn fft_rfft fft_rfft2 fft_rfftfreq fft_rfftn complex conj conj_physical imag real resolve_conj resolve_neg
"""
_CREATION = """
arange as_tensor empty empty_like empty_permuted eye full full_like linspace logspace new_empty new_full new_ones
new_zeros ones ones_like scalar_tensor tensor tril_indices triu_indices zeros zeros_like
"""
_CONVERSION = """
_assert_async _assert_scalar _assert_tensor_metadata _cast_Float _cast_Int _cast_Long _local_scalar_dense _to_copy
bool cpu cuda device dim element_size float get_device int is_complex is_contiguous is_floating_point is_grad_enabled
is_nonzero is_scripting is_same_size is_signed item promote_types result_type stride sym_constrain_range
sym_constrain_range_for_size sym_numel sym_size sym_storage_offset sym_stride to to_padded_tensor tolist
is_autocast_enabled is_autocast_cpu_enabled is_inference
"""
#: Of Python's own types, as TorchScript writes them.
_PLAIN = """
Bool Delete Float FloatImplicit Int IntImplicit ScalarImplicit __and__ __contains__ __derive_index __getitem__ __is__
__isnot__ __lshift__ __not__ __or__ __range_length __rshift__ __xor__ _set_item append clear count dict divmod
endswith extend factorial find floordiv format get hash insert items join keys len list lower mathremainder modf ord
percentFormat pop radians degrees range remove replace reverse setdefault sorted startswith str strip update upper
values warn
"""
_PRIM = """
NumToTensor RaiseException TupleIndex TupleUnpack Uninitialized abs device dtype is_cpu is_cuda is_nested isinstance
itemsize layout max min ndim nbytes rangelist requires_grad shape type unchecked_cast unchecked_unwrap_optional
"""
_EFFECTS = """
as_strided as_strided_ backward confirmed_by_owner fork from_file get_gradients initial_seed is_owner is_pinned
local_value manual_seed output_nr owner owner_name pin_memory record_stream requires_grad_ resize resize_ resize_as
resize_as_ resize_as_sparse_ retain_grad rpc_async rpc_remote rpc_sync save seed set_ set_data set_grad_enabled
share_memory_ sparse_resize_ sparse_resize_and_clear_ storage to_here untyped_storage wait
"""


def _with_in_place(names: str) -> frozenset[str]:
    """The names, and those of the operators that write the result into their first argument."""
    return frozenset(name + end for name in names.split() for end in ("", "_"))


#: Names in torch's namespace ``aten``.
ATEN = _with_in_place(
    _ELEMENTWISE + _REDUCTIONS + _LAYOUT + _PRODUCTS + _LAYERS + _LOSSES + _FOURIER + _CREATION
) | frozenset((_CONVERSION + _PLAIN).split())
#: Names in TorchScript's namespace ``prim``.
PRIM = frozenset(_PRIM.split())
#: Operators with effects beyond computing; no part of a network in TorchScript may have such a name, because torch
#: takes the operator where the name stands behind a tensor.
EFFECTS = frozenset(_EFFECTS.split())
