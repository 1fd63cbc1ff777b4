"""Names of the columns of the tables, with the unit in the name, in one place."""

from enum import StrEnum

# Shares of a whole add up to one within this.
FRACTION_TOLERANCE = 1e-3


class Site(StrEnum):
    """Columns of ``sites/sites.parquet``: one row per symmetry-distinct Fe site."""

    STRUCTURE_ID = "structure_id"
    FORMULA = "formula"
    SPACEGROUP = "spacegroup"
    PARENT = "parent"  # structure type shared by relatives; the group of every data split
    ROLE = "role"  # a Role
    SITE = "site"
    MULTIPLICITY = "multiplicity"
    MOMENT = "moment_mub"
    CONTACT_DENSITY = "contact_density_e_per_bohr3"
    ISOMER_SHIFT = "isomer_shift_mm_s"
    EFG_XX = "efg_xx_1e21_v_m2"
    EFG_YY = "efg_yy_1e21_v_m2"
    EFG_ZZ = "efg_zz_1e21_v_m2"
    EFG_XY = "efg_xy_1e21_v_m2"
    EFG_XZ = "efg_xz_1e21_v_m2"
    EFG_YZ = "efg_yz_1e21_v_m2"
    EFG_ORBIT = "efg_orbit_1e21_v_m2"  # (multiplicity, 6): the tensors of all equivalent atoms
    VZZ = "vzz_1e21_v_m2"
    ETA = "eta"
    QUADRUPOLE_SPLITTING = "quadrupole_splitting_mm_s"
    EFG_FREE_COMPONENTS = (
        "efg_free_components"  # that the site symmetry leaves; 0 means no gradient
    )
    BHF_CONTACT = "bhf_contact_t"
    BHF_CORE = "bhf_core_t"
    BHF_VALENCE = "bhf_valence_t"
    BHF_DIPOLAR = "bhf_dipolar_t"  # principal value of largest size of the dipolar tensor
    BHF_DIPOLAR_ORBIT = "bhf_dipolar_orbit_t"  # (multiplicity, 6): B_i = T_ij n_j, moment along n
    BHF_LORENTZ = "bhf_lorentz_t"
    BHF_ORBITAL = "bhf_orbital_t"  # mean over spins along x, y, z
    ORBITAL_MOMENT = "orbital_moment_mub"
    BHF = "bhf_t"  # isotropic: the contact field
    BHF_SCALED = "bhf_scaled_t"
    STATES_WITHIN = "states_within_mev"  # per Fe atom, up to the next other magnetic state
    AMBIGUOUS = "ambiguous_state"  # another state within 25 meV per Fe atom
    IONIC = "ionic_without_u"  # an ionic phase computed without a Hubbard term
    ISOMER_SHIFT_ERROR = "isomer_shift_error_mm_s"  # standard error, of fit and left-out scatter
    EXTRAPOLATED = "isomer_shift_extrapolated"  # density or moment outside the calibrated range
    BHF_CALIBRATED = "bhf_calibrated_t"
    BHF_CALIBRATED_ERROR = "bhf_calibrated_error_t"  # standard error, likewise
    MOMENT_STATUS = "moment_status"
    ISOMER_SHIFT_STATUS = "isomer_shift_status"
    VZZ_STATUS = "vzz_status"
    BHF_STATUS = "bhf_status"
    STATUS = "status"
    SETTINGS_HASH = "settings_hash"
    METHOD_HASH = "method_hash"  # settings, methods, datasets and GPAW: equal ones may be mixed


EFG_COMPONENTS = (Site.EFG_XX, Site.EFG_YY, Site.EFG_ZZ, Site.EFG_XY, Site.EFG_XZ, Site.EFG_YZ)

# Learned quantities: name of the model folder → column of the table.
TARGETS = {
    "moment": Site.MOMENT,
    "isomer_shift": Site.ISOMER_SHIFT,
    "vzz": Site.VZZ,
    "bhf": Site.BHF,
}


class Status(StrEnum):
    """How a structure ended."""

    CONVERGED = "converged"
    NOT_CONVERGED = "not_converged"
    FAILED = "failed"
    REJECTED = "rejected"


class Role(StrEnum):
    """What a crystal is there for."""

    TRAIN = "train"
    EXTERNAL = "external"  # held out of all that is fitted, tuned, cleaned or chosen


class Band(StrEnum):
    """Columns of ``infrared/<molecule>/peaks.csv``: one row per band, from whatever source."""

    POSITION = "position_cm1"
    POSITION_ERROR = "position_error_cm1"  # standard error, jackknife over trajectories
    POSITION_SPREAD = "position_spread_cm1"  # standard deviation between trajectories
    INTENSITY = "intensity_km_mol"
    INTENSITY_ERROR = "intensity_error_km_mol"  # standard error over trajectories
    EQUIPARTITION = "equipartition_km_mol"  # with every normal mode brought to kT
    EQUIPARTITION_ERROR = "equipartition_error_km_mol"  # standard error over trajectories
    WIDTH = "fwhm_cm1"  # that of the window included
    LOW = "low_cm1"  # limits of the integral
    HIGH = "high_cm1"
    HARMONIC_MODES = "harmonic_modes"
    HARMONIC_POSITION = "harmonic_cm1"
    HARMONIC_INTENSITY = "harmonic_km_mol"
    HARMONIC_DEVIATION = "minus_harmonic_cm1"
    MEASURED_LABEL = "measured_label"
    MEASURED_POSITION = "measured_cm1"
    MEASURED_INTENSITY = "measured_km_mol"
    MEASURED_RELATIVE = "measured_relative"  # strongest band 100
    MEASURED_DEVIATION = "minus_measured_cm1"
    MEASURED_SOURCE = "measured_source"
    MEASURED_TRUST = "measured_trust"


class Compared(StrEnum):
    """Columns of ``validation/validation.csv``: one row per measured value of a computed site."""

    STRUCTURE_ID = "structure_id"
    COMPOUND = "compound"
    SITE = "site"
    QUANTITY = "quantity"  # key of the measured entry, with its unit
    TEMPERATURE = "temperature_k"
    COMPUTED = "computed"
    MEASURED = "measured"
    SIGMA = "sigma"  # standard error of the computed value
    DEVIATION = "deviation"  # computed − measured
    DEVIATION_SIGMA = "deviation_in_sigma"
    CALIBRATED = "in_calibration"  # computed is then what the fit says without the compound
    COUNTED = "counted"  # whether the row counts in the statistics
    TRUST = "trust"
    NOTE = "note"
    SOURCE = "source"


class DensityTest(StrEnum):
    """Columns of the table of test geometries of a density model; differences are model − DFT."""

    FRAME = "frame"
    TEMPERATURE = "temperature_k"
    STATUS = "status"
    REASON = "reason"
    DENSITY = "density_error_percent"  # 100 ∫|Δn| / electrons
    FREE_ATOMS = "free_atoms_error_percent"  # the same of superposed free atoms
    UNCERTAINTY = "uncertainty_percent"  # what the model said of its density error beforehand
    EXCESS = "excess_electrons"
    ENERGY = "energy_error_mev"
    FORCE_MAE = "force_mae_mev_ang"  # over the components of all atoms
    FORCE_RMSE = "force_rmse_mev_ang"
    FORCE_MAX = "force_max_error_mev_ang"
    DIPOLE = "dipole_error_debye"  # length of the difference vector, of the density matrix
    MIXED_DIPOLE = "mixed_dipole_error_debye"  # of the mean that the dynamics uses
    GAP = "gap_error_mev"
    SECONDS = "seconds"  # one energy with forces
